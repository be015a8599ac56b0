// How many messages of each kind came, and what was charged, in steps of five seconds over the last five minutes.

import { KINDS } from "./rows.js";

export const STEP_MS = 5_000;
export const STEPS = 60;

export class Rates {
  #steps = new Map();

  add(row) {
    if (row.kind === "mark") return;
    const step = Math.floor(row.ts / STEP_MS);
    if (!this.#steps.has(step)) this.#steps.set(step, { cents: 0, kinds: {} });
    const counted = this.#steps.get(step);
    counted.kinds[row.kind] = (counted.kinds[row.kind] ?? 0) + 1;
    counted.cents += row.charged;
  }

  // Returns {kinds: {kind: [count of each step]}, cents: [of each step]}, oldest first.
  window(now) {
    const last = Math.floor(now / STEP_MS);
    for (const step of this.#steps.keys()) if (step <= last - STEPS || step > last + STEPS) this.#steps.delete(step);
    const steps = Array.from({ length: STEPS }, (_, at) => this.#steps.get(last - STEPS + 1 + at));
    const kinds = Object.fromEntries(KINDS.map((kind) => [kind, steps.map((step) => step?.kinds[kind] ?? 0)]));
    return { kinds, cents: steps.map((step) => step?.cents ?? 0) };
  }
}

// The least of 1, 2, 5, 10, 20, 50 … that is not smaller.
export function niceMost(value) {
  if (!(value > 1)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

export function total(counts) {
  return counts.reduce((sum, each) => sum + each, 0);
}
