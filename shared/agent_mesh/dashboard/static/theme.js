// Light, dark, or as the system has it.

import { byId, setText } from "./dom.js";
import { keepSetting, setting } from "./settings.js";

const NEXT = { auto: "light", light: "dark", dark: "auto" };
const SIGNS = { auto: "Auto", light: "Light", dark: "Dark" };

export function startTheme() {
  byId("theme").addEventListener("click", () => {
    keepSetting("theme", NEXT[chosen()]);
    show();
  });
  show();
}

function chosen() {
  const theme = setting("theme", "auto");
  return theme in NEXT ? theme : "auto";
}

function show() {
  const theme = chosen();
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  setText(byId("theme"), SIGNS[theme]);
  byId("theme").setAttribute("aria-label", `Colours: ${SIGNS[theme].toLowerCase()}. Change to ${NEXT[theme]}`);
}
