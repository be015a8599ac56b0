// Firestore's typed values as nested lists.

import { button, element } from "./dom.js";
import { hashOf } from "./place.js";
import { dayAndTime, indented, isJson, spoken } from "./text.js";

const OPEN_BELOW = 2;

export function fieldList(fields, depth = 0) {
  const rows = Object.entries(fields).map(([name, value]) => row(name, value, depth));
  return element("ul", { class: "fields" }, ...rows);
}

function row(name, value, depth) {
  const nested = NESTED[value.type];
  if (!nested) {
    const type = element("span", { class: "type" }, spoken(value.type));
    return element("li", {}, element("span", { class: "name" }, name), type, shown(value));
  }
  const fields = nested(value.value);
  const count = Object.keys(fields).length;
  const type = element("span", { class: "type" }, `${value.type} of ${count}`);
  const head = element("summary", {}, element("span", { class: "name" }, name), type);
  return element("li", {}, element("details", { open: depth < OPEN_BELOW }, head, fieldList(fields, depth + 1)));
}

const NESTED = {
  map: (value) => value,
  array: (value) => Object.fromEntries(value.map((each, at) => [`${at}`, each])),
};

function shown({ type, value }) {
  const write = WRITTEN[type] ?? ((text) => `${text}`);
  return element("span", { class: `value ${type}` }, write(value));
}

const WRITTEN = {
  string: (text) => (isJson(text) ? jsonText(text) : text === "" ? element("i", {}, "empty") : text),
  timestamp: (stamp) => element("time", { datetime: stamp, title: dayAndTime(stamp) }, stamp),
  reference: (path) => element("a", { href: hashOf("documents", ...path.split("/")) }, path),
  geo_point: ({ latitude, longitude }) => `${latitude}, ${longitude}`,
  vector: (numbers) => `[${numbers.join(", ")}]`,
};

function jsonText(text) {
  const written = element("span", {}, text);
  const swap = button("Indent", () => {
    const plain = written.textContent === text;
    written.textContent = plain ? indented(text) : text;
    swap.textContent = plain ? "As stored" : "Indent";
  }, { class: "small" });
  return element("span", {}, written, " ", swap);
}
