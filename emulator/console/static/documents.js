// The tree beside what is chosen in it.

import { read } from "./api.js";
import { button, element, empty, problem, table } from "./dom.js";
import { hashOf } from "./place.js";
import { dayAndTime } from "./text.js";
import { Branch, walkByArrows } from "./tree.js";
import { fieldList } from "./values.js";

class LocalDocuments extends HTMLElement {
  #segments = [];
  #tree = element("nav", { class: "tree", "aria-label": "Collections and documents" });
  #chosen = element("section", { class: "chosen", "aria-live": "polite", "aria-label": "Chosen" });
  #root = null;

  connectedCallback() {
    if (this.#root) return;
    const refresh = button("Refresh", () => this.#readAgain());
    this.append(element("div", { class: "side" }, element("div", { class: "bar" }, element("h2", {}, "Documents"), refresh), this.#tree), this.#chosen);
    walkByArrows(this.#tree);
    this.#plant();
  }

  async show(segments) {
    this.#segments = segments;
    if (segments.length && segments.length % 2 === 0) this.#showDocument(segments);
    const branch = await this.#root.reveal(segments);
    if (segments !== this.#segments) return;
    for (const link of this.#tree.querySelectorAll("[aria-current]")) link.removeAttribute("aria-current");
    branch?.link?.setAttribute("aria-current", "true");
    branch?.link?.scrollIntoView({ block: "nearest" });
    if (!segments.length) this.#chosen.replaceChildren(empty("Choose a document on the left to see its fields with their types."));
    if (segments.length % 2) this.#showCollection(segments, branch);
  }

  hide() {}

  #plant() {
    this.#root = new Branch([]);
    this.#tree.replaceChildren(this.#root.item);
  }

  #readAgain() {
    this.#plant();
    this.show([...this.#segments]);
  }

  #showCollection(segments, branch) {
    if (!branch) return this.#chosen.replaceChildren(breadcrumbs(segments), empty("There is no such collection any more."));
    const rows = branch.documents.map((each) => [
      element("a", { href: hashOf("documents", ...each.path.split("/")) }, each.id),
      each.exists ? dayAndTime(each.updateTime) : "only has collections below",
    ]);
    const counted = branch.hasMore ? `The first ${rows.length} documents` : `${rows.length} document${rows.length === 1 ? "" : "s"}`;
    this.#chosen.replaceChildren(breadcrumbs(segments), rows.length ? table(counted, ["Document", "Updated"], rows) : empty("No documents."));
  }

  async #showDocument(segments) {
    try {
      const found = await read("document", { path: segments.join("/") });
      if (segments !== this.#segments) return;
      const times = element("p", { class: "times" }, `created ${dayAndTime(found.createTime)}, updated ${dayAndTime(found.updateTime)}`);
      const refresh = button("Refresh", () => this.#showDocument(segments));
      const fields = Object.keys(found.fields).length ? fieldList(found.fields) : empty("This document has no fields.");
      this.#chosen.replaceChildren(element("div", { class: "bar" }, breadcrumbs(segments), refresh), times, fields);
    } catch (error) {
      if (segments === this.#segments) this.#chosen.replaceChildren(breadcrumbs(segments), problem(error));
    }
  }
}

function breadcrumbs(segments) {
  const steps = segments.map((segment, at) =>
    element("a", { href: hashOf("documents", ...segments.slice(0, at + 1)), "aria-current": at === segments.length - 1 && "page" }, segment),
  );
  return element("h3", { class: "crumbs" }, ...steps.flatMap((step, at) => (at ? [" / ", step] : [step])));
}

customElements.define("local-documents", LocalDocuments);
