// Elements are built from text nodes and attributes only: what comes from data is never parsed as HTML.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export function empty(text, ...more) {
  return element("p", { class: "empty" }, text, ...more);
}

export function problem(error) {
  return element("p", { class: "problem", role: "alert" }, error.message);
}

export function button(label, act, attributes = {}) {
  return element("button", { type: "button", onclick: act, ...attributes }, label);
}

export function table(caption, headings, rows) {
  const cells = (row) => row.map((cell, at) => element("td", { "data-label": headings[at] }, cell));
  return element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...headings.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row)))),
  );
}
