// One transaction or task: what happened in the order of time, and proof of what stands in the ledger.

import { say } from "./announcer.js";
import { Problem, signInUrl, transaction } from "./api.js";
import { button, byId, card, element, facts, setText } from "./dom.js";
import { explanationView } from "./explanation-view.js";
import { cents, clockWithMs, day, duration, plural, utc } from "./format.js";
import { storyPath } from "./place.js";
import { ProofView } from "./proof-view.js";
import { storyOf } from "./story.js";

const SOON_MS = 400; // the ledger integrates what has just happened in about half a second
const LATER_MS = 3000;
const MOST_AGAIN = 10;
const YOUNG_MS = 60_000;

export class StoryView {
  #proofs;
  #back;
  #id = "";
  #answer = null;
  #timer = 0;
  #again = 0;
  #deeper = false; // more than the first page was asked for: looking again must not take it away
  #lookedAt = 0;
  #steps = new Map();
  #parts = {
    head: element("header", { class: "story-head" }),
    about: element("div", { class: "about" }),
    why: element("div"),
    trust: element("div", { id: "trust", class: "trust" }),
    summary: element("p", { class: "summary", role: "status" }),
    state: element("div"),
    list: element("ol", { class: "timeline", "aria-label": "What happened, oldest first" }),
    rest: element("div"),
  };

  // `proofs` checks records; `back()` leads to the list.
  constructor(proofs, back) {
    this.#proofs = proofs;
    this.#back = back;
  }

  get id() {
    return this.#id;
  }

  async show(id) {
    this.#id = id;
    this.#answer = null;
    this.#again = 0;
    this.#deeper = false;
    this.#lookedAt = Date.now();
    this.#steps.clear();
    byId("story").hidden = false;
    byId("story").replaceChildren(...Object.values(this.#parts));
    for (const part of Object.values(this.#parts)) {
      part.replaceChildren();
      for (const name of ["key", "id", "state", "proof"]) delete part.dataset[name];
    }
    this.#head("Looking it up …");
    fill(this.#parts.state, "loading", element("div", { class: "skeleton", "aria-hidden": "true" }, Array.from({ length: 5 }, () => element("i"))));
    byId("story-title").focus({ preventScroll: true });
    scrollTo(0, 0);
    await this.#load();
  }

  hide() {
    this.#id = "";
    clearTimeout(this.#timer);
    byId("story").hidden = true;
  }

  // Something was heard about this id, or the ledger has grown while this story is young: what was told live stands in the
  // ledger a moment later.
  heard(rows) {
    const young = Date.now() - this.#lookedAt < YOUNG_MS;
    if (!this.#id || !rows.some(({ txId, type }) => txId === this.#id || (young && type === "mesh.ledger.checkpoint"))) return;
    if (rows.some(({ txId }) => txId === this.#id)) this.#lookedAt = Date.now();
    this.#again = 0;
    this.#soon(SOON_MS);
  }

  #soon(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), ms);
  }

  async #load(fromIndex = null) {
    const id = this.#id;
    try {
      const answer = await transaction(id, fromIndex);
      const rest = fromIndex === null && this.#deeper ? await transaction(id, this.#answer.records.at(-1).index + 1) : null;
      if (id !== this.#id) return;
      const known = fromIndex !== null || rest ? this.#answer.records : [];
      this.#answer = { ...answer, records: joined(known, answer.records, rest?.records ?? []), next_index: (rest ?? answer).next_index };
      this.#deeper ||= fromIndex !== null;
      this.#draw();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (id === this.#id && !this.#answer) this.#fail(error);
    }
    const waits = this.#answer?.records.some(({ receipt }) => !receipt);
    if (id === this.#id && waits && this.#again++ < MOST_AGAIN) this.#soon(LATER_MS);
  }

  // Only what has changed is made anew: what a reader has opened stays open, and the focus where it was.
  #draw() {
    const story = storyOf(this.#answer);
    const records = story.steps.filter(({ record }) => record);
    const more = this.#answer.next_index ?? null;
    const { about, why, state, list, rest } = this.#parts;
    const news = this.#steps.size > 0;
    this.#head(story.title, story);
    fill(about, JSON.stringify(story.facts), facts(story.facts.map(([name, value]) => [name, shown(value)])));
    fill(why, JSON.stringify(story.why), story.why ? whyView(story.why) : "");
    fill(state, "shown");
    const changed = this.#drawSteps(list, story.steps);
    fill(rest, `${records.length > 0} ${more}`, records.length ? "" : element("p", { class: "soft" }, "The ledger has no entry of it yet."), more === null ? "" : button("Show more entries", () => this.#load(more)));
    if (changed) this.#sumUp();
    if (changed && news) say("There is news of this story");
    document.title = `${story.outcome ? `${story.outcome} · ` : ""}${story.title} ${this.#id.slice(0, 24)} · Agent Mesh`;
  }

  // Returns whether a step came, went or changed.
  #drawSteps(list, steps) {
    const before = this.#steps;
    this.#steps = new Map(steps.map((step) => [keyOf(step), step]).map(([key, step]) => [key, this.#sameStep(before.get(key), step) ?? this.#step(step)]));
    const nodes = [...this.#steps.values()].map(({ node }) => node);
    for (const [key, { node }] of before) if (!this.#steps.has(key)) node.remove();
    for (const [at, node] of nodes.entries()) if (list.children[at] !== node) list.insertBefore(node, list.children[at] ?? null);
    return before.size !== this.#steps.size || [...this.#steps].some(([key, step]) => before.get(key) !== step);
  }

  #head(title, story = null) {
    const { head } = this.#parts;
    head.dataset.tone = story?.tone ?? "plain";
    if (head.dataset.id !== this.#id || !byId("story-title")) {
      const id = this.#id;
      head.dataset.id = id;
      const copied = button("Copy id", async () => say((await copy(id)) ? "Copied" : "This browser does not let the page copy"), { class: "quiet" });
      const back = button("← Back", () => this.#back(), { class: "quiet" });
      head.replaceChildren(back, element("h1", { id: "story-title", tabindex: "-1" }), element("p", { class: "id" }, element("code", {}, id), copied));
    }
    fill(byId("story-title"), `${title} ${story?.outcome}`, title, story?.outcome ? element("span", { class: "badge" }, story.outcome) : "");
  }

  #step(step) {
    const proof = step.record ? new ProofView(step.record.index) : null;
    const node = element(
      "li",
      { class: "step", "data-tone": step.tone },
      element("time", { datetime: utc(step.at), title: utc(step.at) }, Number.isFinite(step.at) ? [element("span", {}, clockWithMs(step.at)), element("span", { class: "soft" }, day(step.at))] : "no time"),
      element(
        "div",
        { class: "what" },
        element("h2", {}, step.title, step.outcome ? element("span", { class: "badge" }, step.outcome) : null),
        step.text ? element("p", {}, step.text) : null,
        facts(step.facts.map(([name, value]) => [name, shown(value)])),
        step.explained ? explanationView(this.#id) : null,
        step.json === null ? null : element("details", { class: "raw" }, element("summary", {}, "As it was recorded"), element("pre", { tabindex: "0", "aria-label": "The record as JSON" }, JSON.stringify(step.json, null, 2))),
        proof?.root ?? null,
      ),
    );
    return { node, proof, proved: Boolean(step.record?.receipt), checked: proof && this.#check(step.record, proof) };
  }

  // A receipt that has come meanwhile is checked; one that was checked already stays so.
  #sameStep(drawn, { record }) {
    if (!drawn || drawn.proved || !record?.receipt) return drawn;
    return { ...drawn, proved: true, checked: this.#check(record, drawn.proof) };
  }

  async #check(record, proof) {
    const checked = await this.#proofs.check({ ...record, tx_id: this.#id });
    proof.show(checked);
    return checked.state;
  }

  // One sentence for all proofs: who does not open each must still see that one was refused.
  async #sumUp() {
    const steps = this.#steps;
    const states = await Promise.all([...steps.values()].map(({ checked }) => checked).filter(Boolean));
    if (steps !== this.#steps || !states.length) return;
    const [proved, refused] = ["proved", "refused"].map((state) => states.filter((each) => each === state).length);
    const { summary } = this.#parts;
    summary.dataset.proof = refused ? "refused" : proved === states.length ? "proved" : "some";
    const all = plural(states.length, "ledger entry", "ledger entries");
    setText(summary, refused ? `Do not rely on this story: the proof of ${refused} of ${all} was refused.` : `${proved} of ${all} proved in this browser.${(this.#answer.next_index ?? null) === null ? "" : " There are more."}`);
  }

  #fail(error) {
    const again = button("Try again", () => this.show(this.#id));
    const known = {
      401: () => card("Your session has ended", "Sign in again to see this story.", element("a", { class: "button", href: signInUrl() }, "Sign in")),
      403: () => card("You may not see this", error.message),
      404: () => card("Nobody knows this id", ["Neither the ledger nor the orchestrator has anything under it.", "An id is taken as it is written; something that has just happened may need a second."], again),
      422: () => card("This is no id", error.message),
    }[error.status];
    const failed = () => card("It could not be looked up", error.message, again);
    this.#head("Not shown");
    fill(this.#parts.state, "failed", (known ?? failed)());
  }
}

// Each entry once, by its place in the ledger; of two the later one, which may have its receipt by now.
function joined(...pages) {
  const found = new Map(pages.flat().map((record) => [record.index, record]));
  return [...found.values()].sort((one, other) => one.index - other.index);
}

// The same entry comes with another receipt whenever the ledger has grown.
function keyOf(step) {
  return JSON.stringify({ ...step, record: step.record && { ...step.record, receipt: null } });
}

// `key` says what a part is made of: the same is not made again.
function fill(part, key, ...children) {
  if (part.dataset.key === key) return;
  part.dataset.key = key;
  part.replaceChildren(...children.filter((child) => child !== ""));
}

function whyView({ summary, next, reasons }) {
  return element("div", { class: "why" }, element("p", {}, element("b", {}, "Why it is here: "), summary), reasons.length ? element("ul", {}, reasons.map((reason) => element("li", {}, reason))) : null, element("p", { class: "soft" }, `Next: ${next}`));
}

function shown(value) {
  if (typeof value !== "object" || value === null) return value;
  if ("cents" in value) return value.cents === null ? "" : cents(value.cents);
  if ("ms" in value) return duration(value.ms);
  if ("hash" in value) return value.hash ? element("code", { title: value.hash }, value.hash.length > 24 ? `${value.hash.slice(0, 20)}…` : value.hash) : "";
  return value.tx ? element("a", { href: storyPath(value.tx), "data-place": true }, value.tx) : "";
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

