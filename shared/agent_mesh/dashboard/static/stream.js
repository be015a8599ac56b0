// The live stream: one connection that is opened again until somebody stops it, and that always tells how it stands.
//
// State is {name, since, ...}: `connecting`, `live`, `reconnecting` {reason, nextAt}, `signed_out`, `forbidden`,
// `refused` {reason}, `stopped`. The last four stay until `start`.

import { delayMs, retryAfterMs } from "./backoff.js";
import { EventStreamReader } from "./sse.js";

const SILENCE_MS = 45_000; // the relay shows a sign of life every 15 s
const SETTLED_MS = 5_000;

export class LiveStream {
  state = { name: "stopped", since: Date.now() };
  #url;
  #hear;
  #position = "";
  #attempt = 0;
  #abort = null;
  #wake = null;
  #lostAt = 0;

  // `hear` has message(text), gap(gap), restored(lostAt) and state(state).
  constructor(url, hear) {
    this.#url = url;
    this.#hear = hear;
  }

  start() {
    if (this.#abort) return;
    const abort = (this.#abort = new AbortController());
    this.#attempt = 0;
    this.#tell({ name: "connecting" });
    this.#stay(abort.signal).finally(() => {
      if (this.#abort === abort) this.#abort = null;
    });
  }

  stop() {
    this.#abort?.abort();
    this.#abort = null;
    this.#tell({ name: "stopped" });
  }

  // Does not wait for the next attempt: the network is back, or a person has asked.
  hurry() {
    this.#attempt = 0;
    this.#wake?.();
  }

  async #stay(signal) {
    while (!signal.aborted) {
      const end = await this.#connect(signal).catch((error) => ({ reason: told(error) }));
      if (signal.aborted) return;
      if (end.final) {
        this.#tell(end.final);
        return;
      }
      if (end.recycled) continue;
      this.#lostAt ||= Date.now();
      const wait = Math.max(delayMs(this.#attempt), end.waitMs ?? 0);
      this.#attempt += 1;
      this.#tell({ name: "reconnecting", since: this.#lostAt, reason: end.reason, nextAt: Date.now() + wait });
      await this.#sleep(wait, signal);
    }
  }

  // Returns why it ended: {final: state}, {recycled: true}, or {reason, waitMs?}.
  async #connect(signal) {
    const own = new AbortController();
    const cut = () => own.abort();
    signal.addEventListener("abort", cut);
    try {
      const headers = { Accept: "text/event-stream", ...(this.#position && { "Last-Event-ID": this.#position }) };
      const response = await fetch(this.#url, { headers, cache: "no-store", credentials: "same-origin", redirect: "error", signal: own.signal });
      if (!response.ok) return await this.#refusal(response);
      return await this.#follow(response, own);
    } finally {
      signal.removeEventListener("abort", cut);
      own.abort();
    }
  }

  async #refusal(response) {
    const { detail = `the server answered ${response.status}` } = await response.json().catch(() => ({}));
    if (response.status === 401) return { final: { name: "signed_out" } };
    if (response.status === 403) return { final: { name: "forbidden", reason: detail } };
    if (response.status === 422 && this.#position) {
      // The position is none that the server knows any more: begin again and say that something may be missing.
      this.#position = "";
      this.#hear.gap({ topic: "", reason: "unknown" });
      return { reason: detail };
    }
    if (response.status < 500 && ![408, 429].includes(response.status)) return { final: { name: "refused", reason: detail } };
    return { reason: detail, waitMs: retryAfterMs(response.headers.get("Retry-After")) };
  }

  async #follow(response, own) {
    const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const reader = new EventStreamReader(this.#position);
    const began = Date.now();
    this.#arrived();
    while (true) {
      const silence = setTimeout(() => own.abort(new Error("nothing was heard for 45 seconds")), SILENCE_MS);
      const { done, value } = await pieces.read().finally(() => clearTimeout(silence));
      if (done) return { reason: "the connection was closed" };
      for (const event of reader.read(value)) {
        if (event.event === "end") return this.#ended(event.data, Date.now() - began > SETTLED_MS);
        this.#take(event);
      }
      this.#position = reader.lastEventId;
      if (Date.now() - began > SETTLED_MS) this.#attempt = 0;
    }
  }

  #arrived() {
    const lostAt = this.#lostAt;
    this.#lostAt = 0;
    if (this.state.name !== "live") this.#tell({ name: "live" });
    if (lostAt) this.#hear.restored(lostAt);
  }

  #take({ event, data, id }) {
    if (event === "message") this.#hear.message(data);
    else if (event === "gap") this.#hear.gap(parsed(data));
    this.#position = id;
  }

  // A stream that has grown old goes on at once, unnoticed. One that is ended as soon as it begins waits like any other.
  #ended(data, settled) {
    const { reason = "unknown" } = parsed(data);
    return reason === "recycled" && settled ? { recycled: true } : { reason: ENDS[reason] ?? `the stream was ended (${reason})` };
  }

  #sleep(ms, signal) {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      const wake = (this.#wake = done);
      signal.addEventListener("abort", done, { once: true });
      const clear = () => (this.#wake === wake ? (this.#wake = null) : null);
      function done() {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        clear();
        resolve();
      }
    });
  }

  #tell(state) {
    this.state = { since: Date.now(), ...state };
    this.#hear.state(this.state);
  }
}

const ENDS = {
  __proto__: null,
  recycled: "the stream was short",
  slow: "this page did not keep up",
  shutdown: "the server is being replaced",
  unavailable: "the server cannot read its history at the moment",
  session_ended: "the session has ended",
};

function parsed(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

function told(error) {
  return error.name === "TypeError" ? "the server cannot be reached" : error.message;
}
