// Where the reader is: `/` with its filter, or `/tx/{id}`. Real URLs, so that they can be kept, shared and gone back to.

let moved = () => {};

// `follow` is called with the place whenever it changes: {name: "live", query} or {name: "story", id}.
export function followPlace(follow) {
  moved = () => follow(currentPlace());
  addEventListener("popstate", moved);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-place]");
    if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(link.getAttribute("href"));
  });
}

export function currentPlace() {
  const [, id] = /^\/tx\/(.+)$/.exec(location.pathname) ?? [];
  return id ? { name: "story", id: decoded(id) } : { name: "live", query: new URLSearchParams(location.search) };
}

export function go(path) {
  if (path !== `${location.pathname}${location.search}`) history.pushState({ inside: true }, "", path);
  moved();
}

// Back to the list that the reader came from, with its filter; to the whole list for who came by a link from elsewhere.
export function goBack() {
  if (history.state?.inside) history.back();
  else go("/");
}

export function replaceQuery(query) {
  history.replaceState(history.state, "", query ? `/?${query}` : "/");
}

export function storyPath(id) {
  return `/tx/${encodeURIComponent(id)}`;
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
