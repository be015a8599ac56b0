// Checks records against the ledger's key as this browser knows it, and says loudly when that key has changed.

import { consistencyProof, ledgerKey, Problem } from "./api.js";
import { Refused, digests } from "./bytes.js";
import { button, byId, element } from "./dom.js";
import { clock, day } from "./format.js";
import { checkRecord } from "./receipt.js";
import { Trust } from "./trust.js";

export class Proofs {
  #trust;
  #pinned = null;
  #queue = Promise.resolve();
  #anew;

  // `anew()` shows everything again, with another key.
  constructor(anew) {
    this.#trust = new Trust(storage(), consistencyProof);
    this.#anew = anew;
  }

  // One after the other: each is compared with the largest tree seen before it.
  check(record) {
    const checked = this.#queue.then(() => this.#checked(record));
    this.#queue = checked.catch(() => {});
    return checked;
  }

  async #checked(record) {
    if (!digests()) return checkRecord(record, null);
    try {
      const pin = await this.#pin();
      this.#tell(pin);
      if (pin.state === "changed") return refused("the ledger's key is not the one that this browser has known");
      const checked = await checkRecord(record, pin.key);
      if (checked.state !== "proved") return checked;
      return { ...checked, steps: [...checked.steps, await this.#trust.follow(checked.checkpoint, pin.key)] };
    } catch (error) {
      if (error instanceof Refused) return refused(error.message);
      if (error instanceof Problem) return { state: "unknown", steps: [], text: error.message };
      throw error;
    }
  }

  // Asked for again after a failure and whenever the page is opened, not for every record.
  #pin() {
    this.#pinned ??= ledgerKey()
      .then((line) => this.#trust.pin(line))
      .catch((error) => {
        this.#pinned = null;
        throw error;
      });
    return this.#pinned;
  }

  #tell(pin) {
    const place = byId("trust");
    if (!place || (place.dataset.state === pin.state && place.childElementCount)) return;
    place.dataset.state = pin.state;
    place.replaceChildren(...(pin.state === "changed" ? this.#warning(pin) : [element("p", {}, told(pin))]));
    place.setAttribute("role", pin.state === "changed" ? "alert" : "note");
  }

  #warning(pin) {
    const accept = button("I have checked the new key: trust it", () => {
      this.#trust.replace(pin.given.line);
      this.#pinned = null;
      this.#anew();
    });
    return [
      element("h2", {}, "The ledger’s key has changed"),
      element("p", {}, `Since ${day(pin.since)} ${clock(pin.since)} this browser has known another one. Somebody may be showing you a ledger of their own. Nothing is proved until this is cleared: ask whoever runs the mesh, in another way than through this page, whether the key was replaced.`),
      local(pin.given) ? element("p", {}, "A mesh on this machine that was started anew has a new ledger, and a new key with it.") : "",
      element("dl", { class: "facts" }, line("Known", pin.key), line("Given now", pin.given)),
      accept,
    ];
  }
}

function told(pin) {
  const key = `${pin.key.name}, key ${pin.key.id}`;
  if (pin.state === "first") return `This browser sees the ledger for the first time and remembers its key: ${key}. Compare it with what whoever runs the mesh has published.`;
  if (pin.state === "unpinned") return `Checked with ${key}. This browser does not let the page remember it, so that a changed key would not be noticed.`;
  return `Checked with ${key}, which this browser has known since ${day(pin.since)}.`;
}

function local({ name }) {
  return name.startsWith("localhost/") && ["127.0.0.1", "localhost"].includes(location.hostname);
}

function line(name, key) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, element("code", {}, key.line)));
}

function refused(text) {
  return { state: "refused", steps: [], text };
}

function storage() {
  try {
    return localStorage;
  } catch {
    return { getItem: () => null, setItem: () => { throw new Error("no storage"); }, removeItem: () => {} };
  }
}
