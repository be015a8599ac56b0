// The controls of the filter: they show it, and tell when a person has changed it.

import { byId, element } from "./dom.js";
import { EVERYTHING, OUTCOMES, TROUBLE, isEmpty } from "./filters.js";
import { KINDS, KIND_NAMES } from "./rows.js";

const TYPING_MS = 120;

export class FilterBar {
  #told;
  #timer = 0;
  #kinds = new Map();
  #listed = 0;

  constructor(told) {
    this.#told = told;
    byId("kinds").append(...KINDS.map((kind) => this.#choice(kind)));
    const options = [["", "Any outcome"], [TROUBLE, "Any trouble"], ...OUTCOMES.map((outcome) => [outcome, outcome])];
    byId("outcome").append(...options.map(([value, name]) => element("option", { value }, name)));
    byId("filters").addEventListener("input", ({ target }) => (target.matches("select, [type=checkbox]") ? this.#tell() : this.#soon()));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("clear").addEventListener("click", () => this.clear());
    byId("search").addEventListener("keydown", (event) => this.#escape(event));
  }

  show({ text, kinds, outcome, agent }) {
    byId("search").value = text;
    byId("outcome").value = outcome;
    byId("agent").value = agent;
    for (const [kind, box] of this.#kinds) box.checked = kinds.includes(kind);
    this.#tidy();
  }

  clear() {
    this.show(EVERYTHING);
    this.#tell();
    byId("search").focus();
  }

  focus() {
    byId("search").focus();
    byId("search").select();
  }

  // Offers the agents that were heard of.
  offer(agents) {
    if (agents.size === this.#listed) return;
    this.#listed = agents.size;
    byId("agents").replaceChildren(...[...agents].sort().map((name) => element("option", { value: name })));
  }

  #choice(kind) {
    const box = element("input", { type: "checkbox", name: "kind", value: kind });
    this.#kinds.set(kind, box);
    return element("label", { class: "chip" }, box, element("span", { class: "mark", "data-kind": kind }, KIND_NAMES[kind]));
  }

  #chosen() {
    const kinds = KINDS.filter((kind) => this.#kinds.get(kind).checked);
    return { text: byId("search").value, kinds, outcome: byId("outcome").value, agent: byId("agent").value };
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tell(), TYPING_MS);
  }

  #tell() {
    clearTimeout(this.#timer);
    this.#tidy();
    this.#told(this.#chosen());
  }

  #tidy() {
    byId("clear").hidden = isEmpty(this.#chosen());
  }

  #escape(event) {
    if (event.key !== "Escape") return;
    if (byId("search").value) {
      byId("search").value = "";
      this.#soon();
    } else {
      byId("grid").focus();
    }
    event.preventDefault();
    event.stopPropagation();
  }
}
