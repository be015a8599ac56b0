// Every rule that was tried for a decision, fetched when somebody asks for it.

import { explanation } from "./api.js";
import { button, element } from "./dom.js";
import { amount, object, short } from "./rows.js";

export function explanationView(id) {
  const place = element("div", { class: "rules" });
  const show = button("Show rule by rule", async () => {
    show.disabled = true;
    place.replaceChildren(element("p", { class: "soft", role: "status" }, "Asking policy …"));
    try {
      place.replaceChildren(...ruleLines(object(await explanation(id))));
      show.remove();
    } catch (error) {
      place.replaceChildren(element("p", { class: "problem", role: "alert" }, error.status === 404 ? "There is no explanation of this decision: its input is not kept." : error.message));
      show.disabled = false;
    }
  });
  return element("div", {}, show, place);
}

function ruleLines(answer) {
  const rules = (Array.isArray(answer.rules) ? answer.rules : []).map(object);
  const held = rules.filter((rule) => rule.held === true).length;
  const lines = [
    element("p", {}, `${rules.length} rule bodies were tried again with what was asked then; ${held} held.`),
    element("ol", { class: "tried" }, rules.map(ruleLine)),
  ];
  if (answer.complete === false) lines.push(element("p", { class: "problem" }, "This is not the whole explanation: time ran out, or its parts do not add up to the decision."));
  return lines;
}

function ruleLine(rule) {
  const state = rule.fault ? "fault" : rule.held === true ? "held" : rule.held === false ? "failed" : "called";
  const words = { fault: `fault: ${short(rule.fault)}`, held: "held", failed: "did not hold", called: short(rule.kind) || "function" }[state];
  const looked = (Array.isArray(rule.looked_at) ? rule.looked_at : []).map(object).slice(0, 40);
  return element(
    "li",
    { "data-rule": state },
    element("p", {}, element("code", {}, short(rule.rule)), amount(rule.line) === null ? null : element("span", { class: "soft" }, `line ${rule.line}`), element("span", { class: "badge" }, words)),
    rule.failed ? element("p", { class: "failed" }, "Failed at ", element("code", {}, short(rule.failed))) : null,
    looked.length ? element("dl", { class: "looked" }, looked.map((each) => element("div", {}, element("dt", {}, short(each.path)), element("dd", {}, valueText(each))))) : null,
  );
}

function valueText({ present, value }) {
  if (present === false) return "missing";
  return value === undefined ? "too long to show" : short(JSON.stringify(value));
}
