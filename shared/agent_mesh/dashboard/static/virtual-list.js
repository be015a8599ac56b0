// A grid of any number of rows, of which only those in sight are in the document.
//
// Focus stays on the grid, and `aria-activedescendant` names the row that the keyboard is at: a row that scrolls away can
// then not take the focus with it. `aria-rowcount` and `aria-rowindex` say how much there is beyond what is in sight.

import { setAttribute } from "./dom.js";

const AROUND = 6;
const HEADER_ROWS = 1;

export class VirtualList {
  #grid;
  #body;
  #make;
  #open;
  #moved;
  #rows = [];
  #nodes = new Map();
  #spare = [];
  #active = "";
  #rowHeight = 0;

  // `make()` returns {root, fill(row)}, whose root has an id of its own; `open(row)` is Enter's; `moved()` is told when
  // the reader went somewhere else in the list.
  constructor(grid, body, { make, open, moved }) {
    this.#grid = grid;
    this.#body = body;
    this.#make = make;
    this.#open = open;
    this.#moved = moved;
    grid.addEventListener("scroll", () => requestAnimationFrame(() => this.#scrolled()), { passive: true });
    grid.addEventListener("keydown", (event) => this.#key(event));
    body.addEventListener("pointerdown", ({ target }) => this.#pointed(target));
    new ResizeObserver(() => this.#resized()).observe(grid);
  }

  // True while nobody looks at one row: then new ones may move the others down.
  get followsNewest() {
    return this.#grid.scrollTop < 4 && !this.#active;
  }

  // `rows` is oldest first, shown newest first.
  show(rows) {
    this.#rows = rows;
    this.#grid.setAttribute("aria-rowcount", rows.length + HEADER_ROWS);
    if (!this.#rowHeight) this.#measure();
    this.#body.style.height = `${rows.length * this.#rowHeight}px`;
    this.#draw();
  }

  toTop() {
    this.#grid.scrollTop = 0;
    this.#activate(-1);
  }

  #resized() {
    this.#measure();
    this.show(this.#rows);
  }

  // The style sheet decides how high a row is, and other screens have other rows.
  #measure() {
    const { root } = this.#make();
    root.className = "row probe";
    this.#body.append(root);
    this.#rowHeight = root.offsetHeight;
    root.remove();
  }

  #scrolled() {
    this.#draw();
    this.#moved();
  }

  #draw() {
    if (!this.#rowHeight) return;
    const first = Math.max(0, Math.floor(this.#grid.scrollTop / this.#rowHeight) - AROUND);
    const end = Math.min(this.#rows.length, first + Math.ceil(this.#grid.clientHeight / this.#rowHeight) + 2 * AROUND);
    const wanted = new Map();
    for (let at = first; at < end; at++) wanted.set(this.#at(at).key, at);
    for (const [key, node] of this.#nodes) {
      if (wanted.has(key)) continue;
      this.#nodes.delete(key);
      node.root.remove();
      this.#spare.push(node);
    }
    for (const [key, at] of wanted) this.#place(key, at);
    this.#spare.length = 0;
    this.#sort(wanted.keys());
    this.#mark();
  }

  #place(key, at) {
    let node = this.#nodes.get(key);
    if (!node) {
      node = this.#spare.pop() ?? this.#make();
      node.fill(this.#at(at));
      this.#nodes.set(key, node);
    }
    const place = `translateY(${at * this.#rowHeight}px)`;
    if (node.root.style.transform !== place) node.root.style.transform = place;
    node.root.setAttribute("aria-rowindex", at + 1 + HEADER_ROWS);
  }

  // A screen reader reads the rows as they stand in the document, wherever on the screen they are. What stays is not
  // moved: a browser forgets the click on a row that was taken out between press and release.
  #sort(keys) {
    let next = this.#body.firstElementChild;
    for (const key of keys) {
      const { root } = this.#nodes.get(key);
      if (root === next) next = next.nextElementSibling;
      else this.#body.insertBefore(root, next);
    }
  }

  #at(index) {
    return this.#rows[this.#rows.length - 1 - index];
  }

  // From the newest. A row that is not shown any more is at none.
  #indexOf(key) {
    const at = key ? this.#rows.findLastIndex((row) => row.key === key) : -1;
    return at < 0 ? -1 : this.#rows.length - 1 - at;
  }

  #activate(index) {
    this.#active = index < 0 ? "" : this.#at(index).key;
    if (index >= 0) this.#bringIntoSight(index);
    this.#draw();
    this.#moved();
  }

  #bringIntoSight(index) {
    const [top, height] = [index * this.#rowHeight, this.#grid.clientHeight - this.#headHeight];
    if (top < this.#grid.scrollTop) this.#grid.scrollTop = top;
    else if (top + this.#rowHeight > this.#grid.scrollTop + height) this.#grid.scrollTop = top + this.#rowHeight - height;
  }

  get #headHeight() {
    return this.#body.offsetTop;
  }

  #mark() {
    const node = this.#nodes.get(this.#active);
    for (const each of this.#nodes.values()) each.root.toggleAttribute("data-active", each === node);
    setAttribute(this.#grid, "aria-activedescendant", node ? node.root.id : null);
  }

  #pointed(target) {
    const [found] = [...this.#nodes].find(([, { root }]) => root.contains(target)) ?? [];
    if (found) this.#activate(this.#indexOf(found));
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !this.#rows.length) return;
    const page = Math.max(1, Math.floor((this.#grid.clientHeight - this.#headHeight) / this.#rowHeight) - 1);
    const now = this.#indexOf(this.#active);
    const last = this.#rows.length - 1;
    if (event.key === "Escape" && this.#active) {
      this.toTop();
      event.preventDefault();
      return;
    }
    const to = { ArrowDown: now + 1, ArrowUp: now - 1, PageDown: now + page, PageUp: now - page, Home: 0, End: last }[event.key];
    if (event.key === "Enter" && now >= 0 && event.target === this.#grid) this.#open(this.#at(now));
    else if (to !== undefined) this.#activate(Math.max(0, Math.min(last, to)));
    else return;
    event.preventDefault();
  }
}
