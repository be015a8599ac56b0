// Elements are built from text nodes and attributes only: what comes from a message is never parsed as HTML, and nothing
// here needs more than `script-src 'self'; style-src 'self'` and Trusted Types without a policy.

const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, ...children) {
  return furnished(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return furnished(document.createElementNS(SVG, name), attributes, children);
}

function furnished(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

// Writes only what has changed: a write of the same text would still cost a layout.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

export function button(label, act, attributes = {}) {
  return element("button", { type: "button", onclick: act, ...attributes }, label);
}

export function facts(pairs, attributes = {}) {
  const given = pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return element("dl", { class: "facts", ...attributes }, given.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

// A state of a whole view: nothing there, not found, not allowed, failed.
export function card(title, sentences, ...acts) {
  const words = [sentences].flat().map((sentence) => element("p", {}, sentence));
  return element("div", { class: "card" }, element("h2", {}, title), words, acts.length ? element("div", { class: "acts" }, acts) : null);
}
