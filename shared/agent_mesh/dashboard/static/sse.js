// The format of text/event-stream (https://html.spec.whatwg.org/multipage/server-sent-events.html), read piece by piece.
//
// EventSource would hide what this page has to show: the status of a refusal, the heartbeats, and when they stop.

const MOST_BUFFERED = 4 * 1024 * 1024;

export class EventStreamReader {
  lastEventId = "";
  #rest = "";
  #fields = { data: [], event: "" };
  #id = "";
  #begun = false;

  // `lastEventId` is where an earlier stream ended.
  constructor(lastEventId = "") {
    this.lastEventId = this.#id = lastEventId;
  }

  // Takes the next piece of text and returns the events that it completes, as {event, data, id}.
  read(piece) {
    this.#rest += this.#begun ? piece : piece.replace(/^\uFEFF/, "");
    this.#begun ||= piece.length > 0;
    const events = [];
    let at = 0;
    for (const { index, 0: end } of this.#rest.matchAll(/\r\n|\n|\r(?!$)/g)) {
      const event = this.#line(this.#rest.slice(at, index));
      if (event) events.push(event);
      at = index + end.length;
    }
    this.#rest = this.#rest.slice(at);
    if (this.#rest.length > MOST_BUFFERED) throw new RangeError("a line of the stream has no end");
    return events;
  }

  #line(line) {
    if (!line) return this.#dispatched();
    const [, name, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (name === "data") this.#fields.data.push(value ?? "");
    else if (name === "event") this.#fields.event = value ?? "";
    else if (name === "id" && !value?.includes("\0")) this.#id = value ?? "";
    return null;
  }

  // A block with an id and no data moves the position on, and is no event.
  #dispatched() {
    const { data, event } = this.#fields;
    this.#fields = { data: [], event: "" };
    this.lastEventId = this.#id;
    return data.length ? { event: event || "message", data: data.join("\n"), id: this.#id } : null;
  }
}
