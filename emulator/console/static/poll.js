// Repeats a question while its answer can be seen: never while the page is hidden, and never twice at once.

const SECONDS_BETWEEN = 3;

export class Poll {
  #ask;
  #timer = 0;
  #wanted = false;
  #asking = false;
  #asked = false;

  constructor(ask) {
    this.#ask = ask;
    document.addEventListener("visibilitychange", () => this.#again());
  }

  start() {
    this.#wanted = true;
    this.#again();
  }

  stop() {
    this.#wanted = false;
    clearTimeout(this.#timer);
  }

  async #again() {
    clearTimeout(this.#timer);
    if (!this.#wanted || document.hidden) return;
    this.#asked = true;
    if (this.#asking) return;
    this.#asking = true;
    while (this.#asked) {
      this.#asked = false;
      await this.#ask();
    }
    this.#asking = false;
    if (!this.#wanted) return;
    this.#timer = setTimeout(() => this.#again(), SECONDS_BETWEEN * 1000);
  }
}
