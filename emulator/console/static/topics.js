// Topics, their subscriptions with counts, and the messages of the chosen topic.

import { read } from "./api.js";
import { element, empty, problem, table } from "./dom.js";
import { LiveMessages } from "./live.js";
import { hashOf } from "./place.js";
import { Poll } from "./poll.js";
import { spoken } from "./text.js";

class LocalTopics extends HTMLElement {
  #chosen = "";
  #list = element("ul", { class: "choices" });
  #title = element("h3", {});
  #subscriptions = element("div", {});
  #live = new LiveMessages();
  #poll = new Poll(() => this.#refresh());

  connectedCallback() {
    if (this.childElementCount) return;
    const side = element("nav", { class: "side", "aria-label": "Topics" }, element("h2", {}, "Topics"), this.#list);
    this.append(side, element("section", { class: "chosen", "aria-label": "Topic" }, this.#title, this.#subscriptions, this.#live));
  }

  show([topic = ""]) {
    this.#chosen = topic;
    this.#live.follow(topic);
    this.#poll.stop();
    this.#poll.start();
  }

  hide() {
    this.#poll.stop();
    this.#live.follow("");
  }

  async #refresh() {
    try {
      this.#draw((await read("topics")).topics);
    } catch (error) {
      this.#subscriptions.replaceChildren(problem(error));
    }
  }

  #draw(topics) {
    const focused = this.#list.querySelector(":focus")?.getAttribute("href");
    const links = topics.map(({ id, subscriptions }) => {
      const many = subscriptions.length === 1 ? "1 subscription" : `${subscriptions.length} subscriptions`;
      const attributes = { href: hashOf("topics", id), "aria-current": id === this.#chosen && "true" };
      return element("li", {}, element("a", attributes, element("span", {}, id), element("small", {}, many)));
    });
    this.#list.replaceChildren(...links);
    if (focused) [...this.#list.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
    this.#drawChosen(topics);
  }

  #drawChosen(topics) {
    const topic = topics.find(({ id }) => id === this.#chosen);
    this.#title.textContent = this.#chosen;
    if (!topics.length) this.#subscriptions.replaceChildren(empty("There are no topics: the roles file declares none."));
    else if (!this.#chosen) this.#subscriptions.replaceChildren(empty("Choose a topic to see its subscriptions and its messages as they are published."));
    else if (!topic) this.#subscriptions.replaceChildren(empty("There is no such topic any more. Choose another one."));
    else if (!topic.subscriptions.length) this.#subscriptions.replaceChildren(empty("No subscription: what is published here is lost to everybody but this page."));
    else this.#subscriptions.replaceChildren(subscriptionTable(topic.subscriptions));
  }
}

function subscriptionTable(subscriptions) {
  const rows = subscriptions.map((one) => [
    one.detached ? `${one.id} (detached)` : one.id,
    one.filter ? element("code", {}, one.filter) : "everything",
    one.pushEndpoint ? element("code", {}, one.pushEndpoint) : "is pulled",
    one.deadLetterTopic ? element("a", { href: hashOf("topics", one.deadLetterTopic) }, one.deadLetterTopic) : "–",
    counts(one.deliveries),
  ]);
  return table("Subscriptions", ["Name", "Filter", "Pushes to", "Dead letters", "Deliveries"], rows);
}

function counts(deliveries) {
  if (!deliveries) return "not counted";
  const some = Object.entries(deliveries).filter(([, count]) => count);
  if (!some.length) return "none yet";
  const marks = some.map(([name, count]) => element("li", { class: name.startsWith("fail") || name.startsWith("dead") ? "bad" : "" }, `${count} ${spoken(name)}`));
  return element("ul", { class: "marks" }, ...marks);
}

customElements.define("local-topics", LocalTopics);
