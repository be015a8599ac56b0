// Asks before something is lost.

import { element } from "./dom.js";

export function confirmed(question, yes) {
  const form = element(
    "form",
    { method: "dialog" },
    element("p", {}, question),
    element("div", { class: "bar" }, element("button", { value: "", autofocus: true }, "Cancel"), element("button", { value: "yes", class: "danger" }, yes)),
  );
  const dialog = element("dialog", { "aria-label": question }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
