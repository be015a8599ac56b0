// What runs, where its reference is, and where its log lies.

import { read } from "./api.js";
import { element, empty, problem, table } from "./dom.js";

class LocalFunctions extends HTMLElement {
  async show() {
    try {
      this.#draw(await read("stack"));
    } catch (error) {
      this.replaceChildren(element("div", { class: "whole" }, element("h2", {}, "Functions"), problem(error)));
    }
  }

  hide() {}

  #draw({ functions, services, logs }) {
    const rows = functions.map(({ name, url, docs, log }) => [
      name,
      element("a", { href: docs, target: "_blank", rel: "noreferrer" }, "API reference"),
      element("code", {}, url),
      element("code", {}, log),
    ]);
    const addresses = Object.entries(services).map(([name, address]) => [name, element("code", {}, address)]);
    const whole = element(
      "div",
      { class: "whole" },
      element("h2", {}, "Functions"),
      rows.length ? table("Running", ["Function", "Reference", "URL", "Log file"], rows) : empty("No function runs in this stack."),
      table("Services", ["Service", "Address"], [...addresses, ["all logs", element("code", {}, logs)]]),
    );
    this.replaceChildren(whole);
  }
}

customElements.define("local-functions", LocalFunctions);
