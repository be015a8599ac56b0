// Help: the keys, and what can be switched off. Single letters can be: speech input types them by accident (WCAG 2.1.4).

import { button, byId, element } from "./dom.js";
import { keepSetting, setting } from "./settings.js";

const KEYS = [
  ["/", "search"],
  ["p", "pause and resume"],
  ["g", "to the list"],
  ["↑ ↓ Page Home End", "move in the list"],
  ["Enter", "open what the list is at"],
  ["Esc", "back: to the newest, to the list, out of a dialog"],
  ["?", "this help"],
];

export function showHelp() {
  const dialog = byId("help");
  dialog.replaceChildren(
    element("h2", { id: "help-title" }, "Keyboard"),
    element("dl", { class: "keys" }, KEYS.map(([key, meaning]) => element("div", {}, element("dt", {}, key.split(" ").map((each) => element("kbd", {}, each))), element("dd", {}, meaning)))),
    choice("letters", "Single keys such as / and p"),
    choice("announce", "Tell screen readers of new messages, every 20 seconds at most"),
    element("p", { class: "soft" }, "What is written about a message is its sender's. “Proved” is said only of what this browser has checked itself."),
    element("div", { class: "acts" }, button("Close", () => dialog.close())),
  );
  dialog.showModal();
}

export function lettersWork() {
  return setting("letters", "on") === "on";
}

function choice(name, label) {
  const box = element("input", { type: "checkbox", onchange: () => keepSetting(name, box.checked ? "on" : "off") });
  box.checked = setting(name, "on") === "on";
  return element("label", { class: "switch" }, box, label);
}
