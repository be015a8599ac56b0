// What production would have billed: totals, by method, by trace, and documents written too often.

import { read } from "./api.js";
import { element, empty, problem, table } from "./dom.js";
import { hashOf } from "./place.js";
import { Poll } from "./poll.js";
import { clockTime, dollars, spoken } from "./text.js";

const COST = "costMicroUsd";
const BRIEF = new Set(["reads", "writes", "deletes", "publishedMessages", "deliveredMessages", COST]);
const OWN_TRACE = "local-console";
const KNOWN = new Set(["prices", "totals", "byMethod", "traces", "writtenOverOncePerSecond"]);

class LocalUsage extends HTMLElement {
  #trace = "";
  #content = element("div", { class: "whole" });
  #poll = new Poll(() => this.#refresh());

  connectedCallback() {
    if (this.childElementCount) return;
    this.append(this.#content);
  }

  show([trace = ""]) {
    this.#trace = trace;
    this.#poll.stop();
    this.#poll.start();
  }

  hide() {
    this.#poll.stop();
  }

  async #refresh() {
    const trace = this.#trace;
    try {
      const report = await read("usage", trace ? { trace } : {});
      if (trace === this.#trace) this.#keepingFocus(() => (trace ? ofTrace(report, trace) : ofAll(report)));
    } catch (error) {
      this.#content.replaceChildren(element("h2", {}, "Usage"), problem(error));
    }
  }

  #keepingFocus(draw) {
    const focused = this.#content.querySelector(":focus")?.getAttribute("href");
    this.#content.replaceChildren(...draw());
    if (focused) [...this.#content.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  }
}

function ofAll(report) {
  const parts = [element("h2", {}, "Usage since the start or the last reset"), tiles(report.totals)];
  if (report.prices) parts.push(element("p", { class: "times" }, `List prices of ${report.prices.location}, version ${report.prices.version}, without free quotas.`));
  parts.push(...methodTables(report.byMethod));
  const hot = Object.entries(report.writtenOverOncePerSecond ?? {});
  if (hot.length) parts.push(hotTable(hot));
  if (report.traces) parts.push(traceTable(report.traces));
  for (const [name, counts] of Object.entries(report)) {
    if (!KNOWN.has(name) && isCounts(counts)) parts.push(table(spoken(name), ["Name", "Count"], Object.entries(counts).map(([key, count]) => [key, number(count)])));
  }
  return parts;
}

function ofTrace(report, trace) {
  const back = element("p", {}, element("a", { href: hashOf("usage") }, "All usage"));
  const title = element("h2", { class: "crumbs" }, `Trace ${trace}`);
  const [line] = report.traces?.shown ?? [];
  if (!line) return [back, title, empty("Nothing has been counted for this trace. Look it up in the list of all usage.")];
  return [back, title, tiles(lineOnly(line)), ...methodTables(line.byMethod ?? {})];
}

function lineOnly(line) {
  return Object.fromEntries(Object.entries(line).filter(([name, value]) => typeof value === "number" || name === COST));
}

function tiles(totals) {
  const told = used([totals]).sort((one, other) => (other === COST) - (one === COST));
  const each = told.map((name) => element("div", {}, element("dt", {}, heading(name)), element("dd", {}, shown(name, totals[name]))));
  return element("dl", { class: "tiles" }, ...each);
}

function methodTables(byMethod) {
  const services = Map.groupBy(Object.entries(byMethod), ([method]) => (method.includes(".") ? method.split(".")[0] : ""));
  if (!services.size) return [empty("No calls yet. Dispatch a task and look again.")];
  return [...services].map(([service, lines]) => {
    const columns = used(lines.map(([, line]) => line));
    const rows = lines.map(([method, line]) => [method.slice(service ? service.length + 1 : 0), ...columns.map((name) => shown(name, line[name] ?? 0))]);
    return table(service ? `${service === "pubsub" ? "Pub/Sub" : "Firestore"}, by method` : "By method", ["Method", ...columns.map(heading)], rows);
  });
}

// The counts that are not all zero, the cost last.
function used(lines) {
  const names = [...new Set(lines.flatMap((line) => Object.keys(lineOnly(line))))];
  return names.filter((name) => name === COST || lines.some((line) => line[name])).sort((one, other) => (one === COST) - (other === COST));
}

function hotTable(hot) {
  const rows = hot.map(([name, rate]) => {
    const path = name.split("/documents/")[1] ?? name;
    return [element("a", { href: hashOf("documents", ...path.split("/")) }, path), `${rate} writes/s`];
  });
  return table("Documents written more than once a second for ten seconds", ["Document", "Rate"], rows);
}

function traceTable(traces) {
  const columns = used([...traces.shown, traces.untraced, traces.older]).filter((name) => BRIEF.has(name));
  const rows = traces.shown.map((line) => [
    element("a", { href: hashOf("usage", line.trace) }, line.trace === OWN_TRACE ? `${line.trace} (this page)` : line.trace),
    clockTime(line.lastUsed),
    ...columns.map((name) => shown(name, line[name] ?? 0)),
  ]);
  const rest = (name, line) => [name, "–", ...columns.map((column) => shown(column, line[column] ?? 0))];
  rows.push(rest("without a trace", traces.untraced), rest("older traces", traces.older));
  return table("By trace, the last used first", ["Trace", "Last used", ...columns.map(heading)], rows);
}

function heading(name) {
  return name === COST ? "cost" : spoken(name);
}

function shown(name, value) {
  if (name === COST) return dollars(value);
  return value === 0 ? "–" : number(value);
}

function number(value) {
  return typeof value === "number" ? value.toLocaleString("en") : `${value}`;
}

function isCounts(value) {
  return value && typeof value === "object" && Object.values(value).length > 0 && Object.values(value).every((each) => typeof each === "number");
}

customElements.define("local-usage", LocalUsage);
