// What is shown stands in the URL's hash, so that it can be kept and shared: #/documents/tasks/abc.

export function hashOf(...segments) {
  return `#/${segments.map(encodeURIComponent).join("/")}`;
}

export function currentPlace() {
  const segments = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  return segments.map((segment) => {
    try {
      return decodeURIComponent(segment);
    } catch {
      return segment;
    }
  });
}
