// How values are written for people.

export function spoken(name) {
  return name.replace(/[_-]+/g, " ").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
}

export function clockTime(stamp) {
  const time = new Date(stamp);
  return Number.isNaN(time.valueOf()) ? stamp : time.toLocaleTimeString([], { hour12: false });
}

export function dayAndTime(stamp) {
  const time = new Date(stamp);
  return Number.isNaN(time.valueOf()) ? stamp : time.toLocaleString([], { hour12: false });
}

export function dollars(microUsd) {
  const amount = Number(microUsd) / 1e6;
  return amount === 0 ? "$0" : `$${amount.toFixed(amount < 0.01 ? 9 : 4).replace(/0+$/, "").replace(/\.$/, "")}`;
}

// JSON with line breaks, without reading its numbers: parsing would round the large ones.
export function indented(json) {
  let depth = 0;
  let opened = false;
  let written = "";
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[^\s"{}[\],:]+|[{}[\],:]/gu)) {
    const closes = token === "}" || token === "]";
    if (closes) depth -= 1;
    if (closes !== opened) written += line();
    opened = token === "{" || token === "[";
    if (opened) depth += 1;
    written += token === ":" ? ": " : token;
    if (token === ",") written += line();
  }
  return written;
}

export function isJson(text) {
  if (!/^\s*[{[]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
