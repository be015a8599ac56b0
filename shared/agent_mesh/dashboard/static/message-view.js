// One message as it came, for those that have no story: a checkpoint of the ledger, a topic of somebody else's.

import { button, byId, element, facts } from "./dom.js";
import { clockWithMs, day, utc } from "./format.js";

export function showMessage(row) {
  const dialog = byId("message");
  const close = button("Close", () => dialog.close());
  dialog.replaceChildren(
    element("h2", { id: "message-title" }, row.kind === "mark" ? "About the connection" : row.type || row.kind),
    facts([["When", element("time", { datetime: utc(row.ts) }, `${day(row.ts)} ${clockWithMs(row.ts)}`)], ["What", row.what], ["Outcome", row.outcome], ["Who", row.who]]),
    row.raw ? element("pre", { tabindex: "0", "aria-label": "The message as JSON" }, indented(row.raw)) : "",
    element("div", { class: "acts" }, close),
  );
  dialog.showModal();
}

export function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
