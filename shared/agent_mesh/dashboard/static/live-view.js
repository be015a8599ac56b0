// The list of what happens, as it happens.

import { Announcer, say } from "./announcer.js";
import { button, byId, card, element, setText } from "./dom.js";
import { FilterBar } from "./filter-bar.js";
import { filterFrom, isEmpty, queryOf } from "./filters.js";
import { count, plural } from "./format.js";
import { Graphs } from "./graph.js";
import { showMessage } from "./message-view.js";
import { go, replaceQuery, storyPath } from "./place.js";
import { Rates } from "./rates.js";
import { rowView } from "./row-view.js";
import { markOf, rowOf } from "./rows.js";
import { keepSetting, setting } from "./settings.js";
import { Store } from "./store.js";
import { VirtualList } from "./virtual-list.js";

const GRAPH_MS = 1000;
const MOST_AT_ONCE = 5_000; // texts that wait for one frame; a hidden tab gets no frames

export class LiveView {
  #heardBy;
  #filter = filterFrom(new URLSearchParams(location.search));
  #store = new Store(this.#filter);
  #rates = new Rates();
  #graphs = new Graphs(byId("graphs"), this.#rates);
  #bar = new FilterBar((filter) => this.#chosen(filter));
  #announcer = new Announcer();
  #list;
  #arrived = [];
  #frame = 0;
  #paused = false;
  #connected = false;

  // `heardBy(rows)` is told of every new row, whether or not it is shown.
  constructor(heardBy) {
    this.#heardBy = heardBy;
    const open = (row) => this.#open(row);
    this.#list = new VirtualList(byId("grid"), byId("rows"), { make: () => rowView(showMessage), open, moved: () => this.#soon() });
    byId("pause").addEventListener("click", () => this.togglePause());
    byId("waiting").addEventListener("click", () => this.#showNewest());
    const wide = matchMedia("(min-width: 760px) and (min-height: 640px)").matches;
    byId("figures").open = setting("figures", wide ? "open" : "closed") === "open";
    byId("figures").addEventListener("toggle", ({ target }) => {
      keepSetting("figures", target.open ? "open" : "closed");
      this.#drawGraphs();
    });
    setInterval(() => this.#drawGraphs(), GRAPH_MS);
  }

  show(query) {
    this.#filter = filterFrom(query);
    this.#bar.show(this.#filter);
    this.#store.filter(this.#filter);
    byId("live").hidden = false;
    this.#drawGraphs();
    this.#draw();
  }

  hide() {
    byId("live").hidden = true;
  }

  hear(text) {
    this.#arrived.push(text);
    if (this.#arrived.length >= MOST_AT_ONCE) this.#take();
    this.#soon();
  }

  mark(outcome, what) {
    this.#take();
    this.#store.add([markOf(Date.now(), outcome, what)]);
    this.#soon();
  }

  connected() {
    this.#connected = true;
    this.#soon();
  }

  togglePause() {
    this.#paused = !this.#paused;
    byId("pause").setAttribute("aria-pressed", `${this.#paused}`);
    setText(byId("pause"), this.#paused ? "Resume" : "Pause");
    if (!this.#paused) this.#list.toTop();
    say(this.#paused ? "Paused" : "Following again");
    this.#draw();
  }

  search() {
    this.#bar.focus();
  }

  focusList() {
    byId("grid").focus();
  }

  // What came before now stands in the store, and is drawn once for each frame, however much it was.
  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#take();
      this.#draw();
    });
  }

  #take() {
    this.#store.hold(this.#held);
    const rows = this.#arrived.splice(0).map(rowOf).filter(Boolean);
    const fresh = this.#store.add(rows);
    for (const row of fresh) this.#rates.add(row);
    if (!fresh.length) return;
    if (fresh.length === this.#store.received) this.#drawGraphs();
    this.#announcer.heard(fresh);
    this.#heardBy(fresh);
  }

  // Nothing moves under somebody who looks at a row.
  get #held() {
    return this.#paused || !this.#list.followsNewest;
  }

  #draw() {
    if (byId("live").hidden) return;
    this.#store.hold(this.#held);
    const { shown, waiting, size } = this.#store;
    this.#list.show(shown);
    this.#bar.offer(this.#store.agents);
    setText(byId("counted"), isEmpty(this.#filter) ? plural(size, "message") : `${count(shown.length)} of ${plural(size, "message")}`);
    byId("waiting").hidden = !waiting;
    setText(byId("waiting"), waiting ? `${count(waiting)} new · show` : "");
    this.#drawNothing(shown.length, size);
  }

  #drawNothing(shown, size) {
    const place = byId("nothing");
    place.hidden = shown > 0;
    byId("grid").classList.toggle("empty", shown === 0);
    if (shown) return;
    const about = size ? `filtered ${this.#filter.text}` : this.#connected ? "quiet" : "connecting";
    if (place.dataset.about === about) return;
    place.dataset.about = about;
    place.replaceChildren(size ? this.#noMatch() : this.#connected ? quiet() : waiting());
  }

  #noMatch() {
    const id = this.#filter.text.trim();
    const acts = [button("Clear filters", () => this.#bar.clear())];
    if (/^[\x21-\x7e]{6,128}$/.test(id)) acts.unshift(element("a", { class: "button", href: storyPath(id), "data-place": true }, `Look up “${id}” in the ledger`));
    return card("Nothing here matches", "Only what came since this page was opened, and the newest of each topic before, is searched.", ...acts);
  }

  #chosen(filter) {
    this.#filter = filter;
    replaceQuery(queryOf(filter));
    this.#store.filter(filter);
    this.#list.toTop();
    this.#draw();
  }

  #showNewest() {
    if (this.#paused) this.togglePause();
    this.#list.toTop();
    this.#draw();
    byId("grid").focus();
  }

  #open(row) {
    if (row.txId) go(storyPath(row.txId));
    else showMessage(row);
  }

  #drawGraphs() {
    if (byId("figures").open && !byId("live").hidden && !document.hidden) this.#graphs.draw();
  }
}

function quiet() {
  return card("Listening", ["Nothing has happened yet. Intents, decisions, tasks, runs, budgets and the growing ledger appear here as they happen.", element("span", {}, "Try ", element("code", {}, "agent-mesh intent publish FILE"), " or dispatch a task.")]);
}

function waiting() {
  return element("div", { class: "skeleton", "aria-hidden": "true" }, Array.from({ length: 8 }, () => element("i")));
}
