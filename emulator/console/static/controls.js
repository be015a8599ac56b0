// What an embedded cloud can be made to do: fail, live at another time, go back, forget.

import { act, read } from "./api.js";
import { button, element, empty, problem } from "./dom.js";
import { confirmed } from "./confirm.js";
import { FaultForm } from "./faults.js";
import { dayAndTime } from "./text.js";

class LocalControls extends HTMLElement {
  #said = element("p", { class: "state", role: "status" });
  #times = element("dl", { class: "tiles" });
  #content = element("div", { class: "whole" });

  connectedCallback() {
    if (!this.childElementCount) this.append(this.#content);
  }

  async show() {
    try {
      const { controls, cloud } = await read("stack");
      if (controls.length) this.#draw(controls);
      else this.#content.replaceChildren(element("h2", {}, "Controls"), empty(`The ${cloud} cloud has no controls: Google's emulators offer none. Start the stack with --cloud=embedded.`));
    } catch (error) {
      this.#content.replaceChildren(element("h2", {}, "Controls"), problem(error));
    }
  }

  hide() {}

  #draw(services) {
    if (this.#content.childElementCount > 2) return this.#tellTimes();
    const names = services.join(" and ");
    this.#content.replaceChildren(
      element("h2", {}, "Controls"),
      element("p", { class: "times" }, `For tests by hand. They act on: ${names}.`),
      this.#said,
      card("Faults", "Let the next calls fail or be late.", new FaultForm(services, (fault) => this.#do(() => act("faults", fault), "Planned."))),
      card("Clock", "Deadlines, TTL and commit times follow it; the functions keep the time of this machine.", this.#times, this.#clockForm()),
      card("Snapshot", "Keep all that is stored in a file, and go back to it later.", this.#snapshotForm()),
      card("Reset", `Forget everything that is stored and counted: ${names}.`, button("Reset …", () => this.#reset(names), { class: "danger" })),
    );
    return this.#tellTimes();
  }

  #clockForm() {
    const seconds = element("input", { type: "number", name: "seconds", min: "1", max: "31622400", step: "any", value: "60", required: true });
    const form = element("form", {}, element("label", {}, "Seconds", seconds), element("button", {}, "Advance"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#clock("advance", { seconds: seconds.valueAsNumber });
    });
    return element("div", { class: "bar" }, form, button("Freeze", () => this.#clock("freeze")), button("Run again", () => this.#clock("run")));
  }

  #clock(name, more = {}) {
    return this.#do(async () => this.#drawTimes(await act("clock", { act: name, ...more })), "Done.");
  }

  #tellTimes() {
    return this.#do(async () => this.#drawTimes(await act("clock", { act: "now" })), "");
  }

  #drawTimes({ now }) {
    const each = Object.entries(now).map(([name, time]) => element("div", {}, element("dt", {}, name), element("dd", {}, dayAndTime(time))));
    this.#times.replaceChildren(...each);
  }

  #snapshotForm() {
    const file = element("input", { type: "file", accept: "application/json", "aria-label": "Snapshot file" });
    file.addEventListener("change", async () => {
      const [chosen] = file.files;
      if (chosen && (await confirmed(`Put ${chosen.name} in the place of all that is stored now?`, "Restore"))) {
        await this.#do(async () => act("restore", JSON.parse(await chosen.text())), "Restored.");
      }
      file.value = "";
    });
    return element("div", { class: "bar" }, button("Download snapshot", () => this.#download()), element("label", {}, "Restore from", file));
  }

  #download() {
    return this.#do(async () => {
      const url = URL.createObjectURL(new Blob([JSON.stringify(await act("snapshot"))], { type: "application/json" }));
      element("a", { href: url, download: `snapshot-${new Date().toISOString().replaceAll(":", "")}.json` }).click();
      URL.revokeObjectURL(url);
    }, "Downloaded.");
  }

  async #reset(names) {
    if (!(await confirmed(`Forget everything that is stored and counted in ${names}? This cannot be undone.`, "Reset"))) return;
    await this.#do(() => act("reset"), "Everything is forgotten.");
  }

  async #do(work, done) {
    this.#said.textContent = "";
    this.#said.classList.remove("problem");
    try {
      await work();
      this.#said.textContent = done;
    } catch (error) {
      this.#said.classList.add("problem");
      this.#said.textContent = error.message;
    }
  }
}

function card(title, explained, ...children) {
  return element("section", { class: "card" }, element("h3", {}, title), element("p", {}, explained), ...children);
}

customElements.define("local-controls", LocalControls);
