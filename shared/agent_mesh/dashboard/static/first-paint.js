// Runs before the first paint, and is no module for that: a page that was set to dark must not flash in white.

(() => {
  try {
    const theme = localStorage.getItem("agent-mesh.dashboard.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // without storage the system's own choice holds
  }
})();
