// Keys that work wherever the reader is, except where they type.

import { byId } from "./dom.js";
import { lettersWork, showHelp } from "./help-view.js";

export function startKeys({ search, togglePause, focusList, back, inStory }) {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && inStory()) {
      event.preventDefault();
      back();
      return;
    }
    if (typing(event.target) || !lettersWork()) return;
    const act = { "?": showHelp, ...(inStory() ? {} : { "/": search, p: togglePause, g: focusList }) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  byId("help-open").addEventListener("click", showHelp);
}

function typing({ tagName, type }) {
  return tagName === "TEXTAREA" || tagName === "SELECT" || (tagName === "INPUT" && type !== "checkbox");
}
