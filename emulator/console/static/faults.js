// The form of a fault: each service has its own kinds, and each kind its own fields.

import { element } from "./dom.js";

const CODES = ["ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "NOT_FOUND", "CANCELLED", "UNKNOWN"];

const METHOD = { label: "Method (* is any)", name: "method", value: "*" };
const CODE = { label: "Status", name: "code", options: [...CODES, ""] };
const COUNT = { label: "Calls", name: "count", type: "number", value: "1", min: "1", step: "1" };
const SUBSCRIPTION = { label: "Subscription (full name)", name: "subscription", placeholder: "projects/…/subscriptions/…" };
const MESSAGES = { ...COUNT, label: "Messages" };
const seconds = (name) => ({ label: "Seconds late", name, type: "number", value: "0", min: "0", step: "any" });

const KINDS = {
  firestore: {
    "Call fails or is late": { fields: [METHOD, CODE, COUNT, seconds("delay"), { label: "Only the answer is lost", name: "after", type: "checkbox" }] },
  },
  pubsub: {
    "Call fails or is late": { kind: "CallFault", fields: [METHOD, CODE, COUNT, seconds("latency")] },
    "Messages come twice": { kind: "Duplicate", fields: [SUBSCRIPTION, MESSAGES] },
    "Batches come in disorder": { kind: "Reorder", fields: [SUBSCRIPTION, { ...COUNT, label: "Batches" }] },
  },
};

export class FaultForm extends HTMLElement {
  #services;
  #submit;

  constructor(services, submit) {
    super();
    this.#services = services.filter((name) => KINDS[name]);
    this.#submit = submit;
  }

  connectedCallback() {
    if (this.childElementCount) return;
    const choices = this.#services.flatMap((service) => Object.keys(KINDS[service]).map((title) => ({ service, title })));
    const select = element("select", {}, ...choices.map(({ service, title }, at) => element("option", { value: `${at}` }, `${service}: ${title.toLowerCase()}`)));
    const fields = element("fieldset", {});
    const form = element("form", {}, element("label", {}, "What", select), fields, element("button", {}, "Plan fault"));
    const chosen = () => choices[Number(select.value)];
    const draw = () => fields.replaceChildren(...KINDS[chosen().service][chosen().title].fields.map(field));
    select.addEventListener("change", draw);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const { service, title } = chosen();
      this.#submit({ service, fault: faultOf(KINDS[service][title], fields) });
    });
    draw();
    this.append(form);
  }
}

function field({ label, name, options, ...attributes }) {
  const control = options
    ? element("select", { name }, ...options.map((each) => element("option", { value: each }, each || "none: only late")))
    : element("input", { name, required: attributes.type !== "checkbox", ...attributes });
  return element("label", {}, label, control);
}

function faultOf({ kind }, fields) {
  const given = [...fields.elements].map((control) => [control.name, valueOf(control)]).filter(([, value]) => value !== "");
  return { ...(kind ? { kind } : {}), ...Object.fromEntries(given) };
}

function valueOf(control) {
  if (control.type === "checkbox") return control.checked;
  return control.type === "number" ? control.valueAsNumber : control.value.trim();
}

customElements.define("local-fault-form", FaultForm);
