// The messages of one topic as they are published, newest first.

import { followed } from "./api.js";
import { button, element, empty } from "./dom.js";
import { clockTime, indented } from "./text.js";

const MOST_KEPT = 200;

export class LiveMessages extends HTMLElement {
  #topic = "";
  #source = null;
  #paused = false;
  #waiting = [];
  #problem = "";
  #list = element("ol", { class: "messages", "aria-label": "Messages, newest first" });
  #state = element("p", { class: "state", role: "status" });
  #pause = button("Pause", () => this.#togglePause(), { "aria-pressed": "false" });

  constructor() {
    super();
    addEventListener("pagehide", () => this.#stop());
    addEventListener("pageshow", (event) => event.persisted && this.#start());
  }

  connectedCallback() {
    if (this.childElementCount) return;
    const clear = button("Clear", () => this.#clear());
    this.append(element("div", { class: "bar" }, element("h4", {}, "Live messages"), this.#pause, clear), this.#state, this.#list);
  }

  // The empty topic follows nothing.
  follow(topic) {
    if (topic === this.#topic && this.#source) return;
    this.#topic = topic;
    this.hidden = !topic;
    this.#stop();
    this.#clear();
    if (topic) this.#start();
  }

  #start() {
    if (!this.#topic) return;
    this.#problem = "";
    const source = followed(this.#topic);
    this.#source = source;
    source.onopen = () => this.#tell();
    source.onerror = () => this.#tell();
    source.onmessage = ({ data }) => this.#take(JSON.parse(data));
    source.addEventListener("problem", ({ data }) => {
      this.#stop();
      this.#problem = JSON.parse(data).message;
      this.#tell();
    });
    this.#tell();
  }

  #stop() {
    this.#source?.close();
    this.#source = null;
  }

  #take(message) {
    this.#waiting.push(message);
    if (this.#waiting.length > MOST_KEPT) this.#waiting.shift();
    if (this.#paused) this.#tell();
    else if (this.#waiting.length === 1) setTimeout(() => this.#draw(), 50);
  }

  #draw() {
    if (this.#paused) return;
    this.#list.prepend(...this.#waiting.splice(0).reverse().map(messageItem));
    while (this.#list.childElementCount > MOST_KEPT) this.#list.lastElementChild.remove();
    this.#tell();
  }

  #togglePause() {
    this.#paused = !this.#paused;
    this.#pause.setAttribute("aria-pressed", `${this.#paused}`);
    this.#pause.textContent = this.#paused ? "Resume" : "Pause";
    if (this.#paused) this.#tell();
    else this.#draw();
  }

  #clear() {
    this.#waiting = [];
    this.#list.replaceChildren();
    this.#tell();
  }

  #tell() {
    this.#state.replaceChildren(...this.#said());
  }

  #said() {
    const again = button("Follow again", () => this.#start(), { class: "small" });
    if (this.#problem) return [`Stopped: ${this.#problem} `, again];
    if (this.#source?.readyState === EventSource.CLOSED) return ["The console refused to follow this topic. ", again];
    if (this.#source?.readyState === EventSource.CONNECTING) return ["Connecting …"];
    if (this.#paused) return [`Paused; ${this.#waiting.length} waiting.`];
    const kept = this.#list.childElementCount;
    if (!kept) return ["Listening. Messages appear here when they are published from now on."];
    return [kept < MOST_KEPT ? `Listening; ${kept} received.` : `Listening; the last ${MOST_KEPT} are kept.`];
  }
}

function messageItem(message) {
  const attributes = Object.entries(message.attributes);
  const summary = element(
    "summary",
    {},
    element("time", { datetime: message.publishTime }, clockTime(message.publishTime)),
    element("span", { class: "preview" }, preview(message)),
    element("span", { class: "type" }, `${message.format}, ${message.size} B`),
  );
  const body = [element("p", { class: "times" }, `message ${message.messageId}${message.orderingKey ? `, ordering key ${message.orderingKey}` : ""}`)];
  if (attributes.length) {
    const pairs = attributes.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
    body.push(element("dl", {}, ...pairs));
  }
  body.push(message.data ? element("pre", { tabindex: "0" }, message.format === "json" ? indented(message.data) : message.data) : empty("No data."));
  return element("li", {}, element("details", {}, summary, ...body));
}

function preview({ data, attributes }) {
  const first = Object.entries(attributes).map(([name, value]) => `${name}=${value}`).join(" ");
  return (data || first || "no data").slice(0, 200);
}

customElements.define("local-messages", LiveMessages);
