// One row of the list. Made once, filled again and again with other messages as the list scrolls.

import { element, setAttribute, setText } from "./dom.js";
import { cents, clockWithMs, utc } from "./format.js";
import { storyPath } from "./place.js";

let made = 0;

// `look(row)` opens a message that has no story of its own.
export function rowView(look) {
  const cell = (name, ...children) => element("span", { role: "gridcell", class: name }, ...children);
  const time = element("time");
  const link = element("a", { tabindex: "-1" });
  const id = element("span", { class: "id" });
  const badge = element("span", { class: "badge" });
  const kind = element("span", { class: "mark" });
  const who = cell("who");
  const cost = cell("cost");
  const root = element("div", { role: "row", class: "row", id: `row-${++made}` }, cell("time", time), cell("kind", kind), cell("outcome", badge), cell("what", link, id), who, cost);
  let shown = null;
  link.addEventListener("click", (event) => {
    if (shown.txId) return;
    event.preventDefault();
    look(shown);
  });
  return {
    root,
    fill(row) {
      shown = row;
      setText(time, clockWithMs(row.ts));
      setAttribute(time, "datetime", utc(row.ts));
      setAttribute(time, "title", utc(row.ts));
      setAttribute(root, "data-kind", row.kind);
      setAttribute(root, "data-tone", row.tone);
      setText(kind, row.kind === "mark" ? "stream" : row.kind);
      setText(badge, row.outcome);
      setText(link, row.what);
      setAttribute(link, "title", row.what);
      setAttribute(link, "href", hrefOf(row));
      setAttribute(link, "data-place", row.txId ? "" : null);
      setText(id, row.txId);
      setText(who, row.who);
      setAttribute(who, "title", row.who || null);
      setText(cost, row.cents === null ? "" : cents(row.cents));
    },
  };
}

function hrefOf({ txId }) {
  return txId ? storyPath(txId) : "#message";
}
