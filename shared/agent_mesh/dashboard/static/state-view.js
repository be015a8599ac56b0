// How the connection stands, always in sight: live, reconnecting since when, ended, and what may be missing.

import { byId, setText } from "./dom.js";
import { clock, duration } from "./format.js";
import { signInUrl } from "./api.js";

const WORDS = {
  connecting: "Connecting …",
  live: "Live",
  reconnecting: "Reconnecting",
  signed_out: "Signed out",
  forbidden: "Not allowed",
  refused: "Refused",
  stopped: "Stopped",
};

export class StateView {
  #state = { name: "connecting", since: Date.now() };
  #note = "";
  #timer = 0;

  // `hurry()` is the button's.
  constructor(hurry) {
    byId("state-act").addEventListener("click", () => (this.#state.name === "signed_out" ? location.assign(signInUrl()) : hurry()));
  }

  show(state) {
    this.#state = state;
    const { name } = state;
    byId("state").dataset.state = name;
    setText(byId("state-text"), name === "reconnecting" ? `Connection lost at ${clock(state.since)}` : WORDS[name]);
    byId("state-act").hidden = !["reconnecting", "refused", "signed_out"].includes(name);
    setText(byId("state-act"), name === "signed_out" ? "Sign in" : "Try now");
    clearInterval(this.#timer);
    if (name === "reconnecting") this.#timer = setInterval(() => this.#tell(), 1000);
    this.#tell();
  }

  // What is worth to be seen until something else happens, such as that messages may be missing.
  note(text) {
    this.#note = text;
    this.#tell();
  }

  // Not in the part that is read out: a countdown would never be quiet.
  #tell() {
    const { name, reason, nextAt } = this.#state;
    const left = nextAt - Date.now();
    const next = left > 500 ? `next attempt in ${duration(Math.ceil(left / 1000) * 1000)}` : "trying";
    const text = name === "reconnecting" ? `${reason}; ${next}` : reason || this.#note;
    setText(byId("state-more"), text);
    byId("state-more").title = text;
  }
}
