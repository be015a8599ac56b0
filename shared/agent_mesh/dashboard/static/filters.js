// Which rows are shown. A filter stands in the URL's query, so that it can be shared and comes back with the back button.

import { KINDS } from "./rows.js";

export const OUTCOMES = ["allow", "deny", "published", "received", "accepted", "succeeded", "failed", "retrying", "rejected", "expired", "cancelled", "dead"];
export const TROUBLE = "trouble";
const LONGEST = 200;

export const EVERYTHING = Object.freeze({ text: "", kinds: Object.freeze([]), outcome: "", agent: "" });

export function filterFrom(query) {
  const kinds = [...new Set(query.getAll("kind"))].filter((kind) => KINDS.includes(kind));
  const outcome = query.get("outcome") ?? "";
  return {
    text: (query.get("q") ?? "").slice(0, LONGEST),
    kinds: KINDS.filter((kind) => kinds.includes(kind)),
    outcome: outcome === TROUBLE || OUTCOMES.includes(outcome) ? outcome : "",
    agent: (query.get("agent") ?? "").slice(0, LONGEST),
  };
}

export function queryOf({ text, kinds, outcome, agent }) {
  const query = new URLSearchParams();
  if (text.trim()) query.set("q", text.trim());
  for (const kind of kinds) query.append("kind", kind);
  if (outcome) query.set("outcome", outcome);
  if (agent.trim()) query.set("agent", agent.trim());
  return query.toString();
}

export function isEmpty(filter) {
  return queryOf(filter) === "";
}

// Returns the question that is asked of every row. What the page itself marks is shown unless something else is looked for.
export function matcher({ text, kinds, outcome, agent }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = new Set(kinds);
  const named = agent.trim().toLowerCase();
  return (row) => {
    if (row.kind === "mark") return !words.length && !outcome && !named;
    if (wanted.size && !wanted.has(row.kind)) return false;
    if (outcome === TROUBLE ? row.tone !== "bad" && row.tone !== "warn" : outcome && row.outcome !== outcome) return false;
    if (named && row.agent.toLowerCase() !== named) return false;
    return words.every((word) => row.haystack.includes(word));
  };
}
