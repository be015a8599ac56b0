// Collections and documents as a tree whose branches are read when they are opened.

import { read } from "./api.js";
import { button, element, empty, problem } from "./dom.js";
import { hashOf } from "./place.js";

const NOTHING_STORED =
  "Nothing is stored yet. Dispatch a task, for instance with: agent-mesh dispatch light --payload '{\"text\": \"hello\"}'";

export class Branch {
  #token = "";
  #reading = null;
  #more;

  constructor(segments, exists = true) {
    this.segments = segments;
    this.documents = [];
    this.branches = new Map();
    this.list = element("ul", { hidden: segments.length > 0 });
    this.item = segments.length ? this.#row(exists) : this.list;
    this.#more = element("li", {}, button("More …", () => this.#readPage(), { class: "small" }));
  }

  get isCollection() {
    return this.segments.length % 2 === 1;
  }

  get isDocument() {
    return this.segments.length > 0 && !this.isCollection;
  }

  get hasMore() {
    return this.#token !== "";
  }

  async open() {
    this.list.hidden = false;
    this.toggle?.setAttribute("aria-expanded", "true");
    this.#reading ??= this.#readPage();
    await this.#reading;
  }

  close() {
    this.list.hidden = true;
    this.toggle.setAttribute("aria-expanded", "false");
  }

  // Opens all branches on the way; gives the branch at the end, if the pages read so far have it.
  async reveal(segments) {
    let branch = this;
    for (const segment of segments) {
      await branch.open();
      branch = branch.branches.get(segment);
      if (!branch) return null;
    }
    if (!branch.isDocument) await branch.open();
    return branch;
  }

  #row(exists) {
    const id = this.segments.at(-1);
    const what = this.isCollection ? "collection" : "document";
    this.toggle = button("", () => (this.list.hidden ? this.open() : this.close()), {
      class: "toggle",
      "aria-expanded": "false",
      "aria-label": `${what} ${id}`,
    });
    this.link = element("a", { href: hashOf("documents", ...this.segments), class: exists ? what : `${what} missing` }, id);
    return element("li", {}, element("div", { class: "row" }, this.toggle, this.link), this.list);
  }

  async #readPage() {
    this.#more.remove();
    try {
      const page = await read("documents", { path: this.segments.join("/"), pageToken: this.#token });
      this.#add(page.collections ?? page.documents);
      this.documents.push(...(page.documents ?? []));
      this.#token = page.nextPageToken;
      if (this.#token) this.list.append(this.#more);
      else if (!this.branches.size) this.list.append(element("li", {}, empty(this.#nothing())));
    } catch (error) {
      this.#reading = null;
      this.list.replaceChildren(element("li", {}, problem(error)));
    }
  }

  #add(found) {
    for (const { id, exists } of found) {
      const branch = new Branch([...this.segments, id], exists);
      this.branches.set(id, branch);
      this.list.append(branch.item);
    }
  }

  #nothing() {
    if (!this.segments.length) return NOTHING_STORED;
    return this.isCollection ? "No documents." : "No collections below this document.";
  }
}

// Arrow keys walk the visible rows and open or close them, beside Tab.
export function walkByArrows(root) {
  root.addEventListener("keydown", (event) => {
    const rows = [...root.querySelectorAll(".row")].filter((row) => row.offsetParent);
    const at = rows.indexOf(document.activeElement?.closest(".row"));
    const toggle = rows[at]?.querySelector(".toggle");
    const expanded = toggle?.getAttribute("aria-expanded") === "true";
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (at < 0) return;
    if (step) rows[at + step]?.querySelector("a").focus();
    else if (event.key === "ArrowRight" && !expanded) toggle.click();
    else if (event.key === "ArrowLeft" && expanded) toggle.click();
    else return;
    event.preventDefault();
  });
}
