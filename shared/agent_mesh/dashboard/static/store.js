// What was heard, newest last, never more than a fixed number; and the part of it that is shown.

import { matcher } from "./filters.js";

const MOST_ROWS = 10_000;
const CUT_AT_ONCE = 500; // so that forgetting costs little for each row

export class Store {
  shown = [];
  waiting = 0;
  received = 0;
  agents = new Set();
  #rows = [];
  #keys = new Set();
  #matches;
  #held = false;

  constructor(filter) {
    this.#matches = matcher(filter);
  }

  get size() {
    return this.#rows.length;
  }

  // Returns the rows that were not there yet.
  add(rows) {
    const fresh = rows.filter(({ key }) => !this.#keys.has(key) && this.#keys.add(key));
    if (!fresh.length) return fresh;
    this.received += fresh.length;
    for (const { agent } of fresh) if (agent && this.agents.size < 500) this.agents.add(agent);
    const wasLast = this.#rows.at(-1)?.ts ?? -Infinity;
    this.#rows.push(...fresh);
    const inOrder = fresh.every((row, at) => row.ts >= (at ? fresh[at - 1].ts : wasLast));
    // A history comes topic by topic, and instances of the relay are not of one clock.
    if (!inOrder) this.#rows.sort((one, other) => one.ts - other.ts);
    const cut = this.#forget();
    if (this.#held) this.waiting += fresh.filter(this.#matches).length;
    else if (inOrder && !cut) this.shown.push(...fresh.filter(this.#matches));
    else this.#select();
    return fresh;
  }

  filter(filter) {
    this.#matches = matcher(filter);
    this.#select();
  }

  // While it is held, what is shown stays as it is, and what comes is counted.
  hold(held) {
    if (held === this.#held) return;
    this.#held = held;
    if (!held) this.#select();
  }

  #select() {
    this.shown = this.#rows.filter(this.#matches);
    this.waiting = 0;
  }

  #forget() {
    if (this.#rows.length <= MOST_ROWS) return false;
    for (const { key } of this.#rows.splice(0, this.#rows.length - MOST_ROWS + CUT_AT_ONCE)) this.#keys.delete(key);
    return true;
  }
}
