// What a reader has set, kept in this browser. Storage may be forbidden or full: then it lasts as long as the page.

const PREFIX = "agent-mesh.dashboard.";
const kept = new Map();

export function setting(name, otherwise) {
  if (kept.has(name)) return kept.get(name);
  try {
    return localStorage.getItem(PREFIX + name) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function keepSetting(name, value) {
  kept.set(name, value);
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // said above
  }
}
