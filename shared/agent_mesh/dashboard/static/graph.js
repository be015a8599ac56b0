// Two small graphs, rates and costs, with a table that says the same in numbers.

import { element, setText, svg } from "./dom.js";
import { cents, count } from "./format.js";
import { STEPS, STEP_MS, niceMost, total } from "./rates.js";
import { KINDS, KIND_NAMES } from "./rows.js";

const WIDTH = 600;
const HEIGHT = 100;
const BAR = WIDTH / STEPS;
const LAST_MINUTE = 60_000 / STEP_MS;

export class Graphs {
  #rates;
  #kinds = new Map();
  #mostRate = element("span", { class: "most", "aria-hidden": "true" });
  #mostCost = element("span", { class: "most", "aria-hidden": "true" });
  #costs = svg("path", { class: "costs" });
  #spoken = { rates: svg("title", {}, "Nothing is counted yet"), costs: svg("title", {}, "Nothing is counted yet") };
  #totals = { minute: element("td"), five: element("td") };

  constructor(place, rates) {
    this.#rates = rates;
    const bars = KINDS.map((kind) => this.#kind(kind));
    place.append(
      figure("Messages each five seconds", svg("svg", picture(), this.#spoken.rates, grid(), bars.map(({ path }) => path)), this.#mostRate),
      figure("Charged each five seconds", svg("svg", picture(), this.#spoken.costs, grid(), this.#costs), this.#mostCost),
      element(
        "table",
        {},
        element("caption", {}, "Messages by kind"),
        element("thead", {}, element("tr", {}, ["Kind", "Last minute", "Five minutes"].map((name) => element("th", { scope: "col" }, name)))),
        element("tbody", {}, bars.map(({ line }) => line), element("tr", {}, element("th", { scope: "row" }, "Charged"), this.#totals.minute, this.#totals.five)),
      ),
    );
  }

  draw(now = Date.now()) {
    const { kinds, cents: charged } = this.#rates.window(now);
    const sums = charged.map((_, at) => KINDS.reduce((sum, kind) => sum + kinds[kind][at], 0));
    const most = niceMost(Math.max(...sums));
    const below = new Array(STEPS).fill(0);
    for (const kind of KINDS) {
      const { path, minute, five, line } = this.#kinds.get(kind);
      path.setAttribute("d", bars(kinds[kind], below, most));
      line.hidden = !total(kinds[kind]);
      setText(minute, count(total(kinds[kind].slice(-LAST_MINUTE))));
      setText(five, count(total(kinds[kind])));
    }
    const mostCents = niceMost(Math.max(...charged));
    this.#costs.setAttribute("d", bars(charged, new Array(STEPS).fill(0), mostCents));
    setText(this.#mostRate, count(most));
    setText(this.#mostCost, cents(mostCents));
    setText(this.#totals.minute, cents(total(charged.slice(-LAST_MINUTE))));
    setText(this.#totals.five, cents(total(charged)));
    setText(this.#spoken.rates, `${count(total(sums))} messages in the last five minutes, at most ${count(Math.max(...sums))} in five seconds`);
    setText(this.#spoken.costs, `${cents(total(charged))} charged in the last five minutes`);
  }

  #kind(kind) {
    const [minute, five] = [element("td"), element("td")];
    const name = element("th", { scope: "row" }, element("span", { class: "mark", "data-kind": kind }, KIND_NAMES[kind]));
    const shown = { path: svg("path", { "data-kind": kind }), minute, five, line: element("tr", {}, name, minute, five) };
    this.#kinds.set(kind, shown);
    return shown;
  }
}

function picture() {
  return { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" };
}

function grid() {
  return svg("path", { class: "lines", d: [0, 50, 100].map((y) => `M0 ${y}H${WIDTH}`).join("") });
}

function figure(title, drawing, most) {
  const ends = element("span", { class: "ends", "aria-hidden": "true" }, element("span", {}, "5 min ago"), element("span", {}, "now"));
  return element("figure", {}, element("figcaption", {}, title, most), drawing, ends);
}

// All bars of one kind as one path, standing on those of the kinds before it, which it adds itself to.
function bars(counts, below, most) {
  let path = "";
  for (const [at, number] of counts.entries()) {
    if (!number) continue;
    const foot = HEIGHT - (below[at] / most) * HEIGHT;
    below[at] += number;
    const top = HEIGHT - (below[at] / most) * HEIGHT;
    path += `M${at * BAR + 1} ${foot.toFixed(1)}V${top.toFixed(1)}H${(at + 1) * BAR - 1}V${foot.toFixed(1)}Z`;
  }
  return path;
}
