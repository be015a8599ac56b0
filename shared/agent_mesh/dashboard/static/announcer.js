// Tells a screen reader what came, in one sentence every twenty seconds at most: a busy stream must not talk without end.

import { byId } from "./dom.js";
import { plural } from "./format.js";
import { setting } from "./settings.js";

const PAUSE_MS = 20_000;

export class Announcer {
  #rows = [];
  #timer = 0;

  heard(rows) {
    if (document.hidden || setting("announce", "on") === "off") return;
    this.#rows.push(...rows.slice(-1000).map(({ outcome, tone }) => ({ outcome, tone })));
    this.#timer ||= setTimeout(() => this.#speak(), PAUSE_MS);
  }

  #speak() {
    this.#timer = 0;
    const rows = this.#rows.splice(0);
    const bad = new Map();
    for (const { outcome, tone } of rows) if (tone === "bad") bad.set(outcome, (bad.get(outcome) ?? 0) + 1);
    const troubles = [...bad].slice(0, 3).map(([outcome, count]) => `${count} ${outcome}`);
    say([plural(rows.length, "new message"), ...troubles].join(", "));
  }
}

// At once, for what a person has just done.
export function say(sentence) {
  byId("announce").textContent = sentence;
}
