// Which view is shown follows the URL's hash.

import "./controls.js";
import "./documents.js";
import "./functions.js";
import "./topics.js";
import "./usage.js";
import { read } from "./api.js";
import { element } from "./dom.js";
import { currentPlace } from "./place.js";

const NAMES = ["documents", "topics", "usage", "controls", "functions"];
const main = document.querySelector("main");
const views = new Map();
let shown = null;

function view(name) {
  if (!views.has(name)) {
    views.set(name, element(`local-${name}`));
    main.append(views.get(name));
  }
  return views.get(name);
}

function follow() {
  const [first, ...rest] = currentPlace();
  const name = NAMES.includes(first) ? first : NAMES[0];
  const next = view(name);
  if (shown && shown !== next) shown.hide();
  shown = next;
  for (const one of views.values()) one.hidden = one !== next;
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.getAttribute("href") === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${[...rest, name].join(" · ")} – Local console`;
  next.show(rest);
}

async function introduce() {
  const { project, cloud } = await read("stack");
  document.querySelector("#stack").textContent = `${project}, ${cloud} cloud`;
}

addEventListener("hashchange", follow);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
follow();
introduce().catch((error) => {
  document.querySelector("#stack").textContent = error.message;
});
