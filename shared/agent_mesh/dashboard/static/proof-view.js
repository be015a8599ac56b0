// The proof of one ledger entry: checked when it is asked for, shown step by step.

import { element, setText } from "./dom.js";

const VERDICTS = {
  checking: ["…", "Checking the proof"],
  proved: ["✓", "Proved in this browser"],
  unsigned: ["?", "Included; the signature could not be checked here"],
  pending: ["…", "In the ledger soon"],
  impossible: ["?", "Not checked"],
  unknown: ["?", "Not checked"],
  refused: ["✕", "Proof refused"],
};
const OUTCOMES = { passed: "✓", unchecked: "?", failed: "✕" };

export class ProofView {
  #sign = element("span", { class: "sign", "aria-hidden": "true" });
  #verdict = element("span", { class: "verdict" });
  #steps = element("ol", { class: "checks" });
  root;

  constructor(index) {
    const place = Number.isSafeInteger(index) ? `ledger entry ${index}` : "ledger";
    this.root = element("details", { class: "proof" }, element("summary", {}, this.#sign, this.#verdict, element("span", { class: "index" }, place)), this.#steps);
    this.show({ state: "checking", steps: [] });
  }

  // `checked` is what receipt.js returns.
  show({ state, steps, text }) {
    const [sign, words] = VERDICTS[state];
    this.root.dataset.proof = state;
    setText(this.#sign, sign);
    setText(this.#verdict, words);
    const last = text ? [{ name: state === "refused" ? "Refused" : "Why", outcome: state === "refused" ? "failed" : "unchecked", text }] : [];
    this.#steps.replaceChildren(...[...steps, ...last].map(checkLine));
    if (state === "refused") this.root.open = true;
  }
}

function checkLine({ name, outcome, text }) {
  const said = { passed: "passed", unchecked: "not checked", failed: "failed" }[outcome];
  return element("li", { "data-outcome": outcome }, element("span", { class: "sign", role: "img", "aria-label": said }, OUTCOMES[outcome]), element("b", {}, name), element("span", {}, text));
}
