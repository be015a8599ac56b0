// From a message of the relay to a row of the list. Every field of a message is somebody else's: nothing is taken for
// what it should be before its type was looked at.

import { cents, count, plural, words } from "./format.js";

export const KINDS = ["intent", "decision", "task", "run", "budget", "ledger", "policy", "other"];
export const KIND_NAMES = { intent: "Intents", decision: "Decisions", task: "Tasks", run: "Runs", budget: "Budgets", ledger: "Ledger", policy: "Policy", other: "Other" };

const LONGEST_TEXT = 200;
const LONGEST_KEPT = 4096;
const TONES = {
  __proto__: null, // whatever a message calls its outcome, it must not find what every object has
  allow: "good", succeeded: "good", deny: "bad", denied: "bad", failed: "bad", dead: "bad", rejected: "bad",
  expired: "warn", cancelled: "warn", retrying: "warn", gap: "warn", lost: "warn", differs: "warn",
};

export function toneOf(outcome) {
  return TONES[outcome] ?? "plain";
}

// Returns a row, or null for a text that is no message of the relay.
export function rowOf(text) {
  const message = parsed(text);
  if (!message || typeof message.id !== "string" || typeof message.ts !== "number") return null;
  const payload = object(message.payload);
  const topic = short(message.topic);
  const type = topic.startsWith("mesh.") ? short(payload.type) || topic : topic;
  const subject = short(payload.subject);
  const told = tell(type, payload, object(payload.data), subject);
  const row = {
    key: `${topic} ${message.id}`,
    ts: message.ts * 1000,
    type,
    kind: "other", outcome: "", what: "", who: "", agent: "", txId: "", cents: null, charged: 0,
    ...told,
    raw: text.length > LONGEST_KEPT ? `${text.slice(0, LONGEST_KEPT)} …` : text,
  };
  row.tone ??= toneOf(row.outcome);
  row.haystack = [row.type, row.kind, row.outcome, row.what, row.who, row.agent, row.txId].join("\n").toLowerCase();
  return row;
}

// A row of the page's own: something about the connection that belongs between the messages.
export function markOf(ts, outcome, what) {
  const row = { key: `mark ${ts} ${outcome} ${what}`, ts, type: "", kind: "mark", outcome, what, who: "", agent: "", txId: "", cents: null, charged: 0, tone: toneOf(outcome), raw: "" };
  return { ...row, haystack: `${outcome}\n${what}`.toLowerCase() };
}

function tell(type, payload, data, subject) {
  if (type === "access.intent") return { ...intent(payload), outcome: "published", txId: short(payload.tx_id) };
  if (type === "mesh.access.requested") return { ...intent(data), outcome: "received", txId: subject };
  if (type === "mesh.access.decided") return decision(data, subject);
  const [, family, last] = /^mesh\.(task|run|budget|ledger|policy|relay)\.(.+)$/.exec(type) ?? [];
  if (family === "task") return { ...work(data), kind: "task", outcome: last, txId: subject, charged: TASK_ENDS.has(last) ? amount(data.costCents) ?? 0 : 0 };
  if (family === "run") return { ...work(data), kind: "run", outcome: last, txId: subject };
  if (family === "budget") return budget(data, subject);
  if (family === "ledger") return ledger(data, last);
  if (family === "policy" || family === "relay") return { kind: "policy", outcome: words(last), tone: toneOf(last), what: policyText(data, subject), who: person(data), txId: subject };
  return { kind: "other", what: subject || type, txId: type.startsWith("mesh.") ? subject : short(payload.tx_id) };
}

// The orchestrator tells what a task was charged, and the agent what its run cost: the same money, counted once.
const TASK_ENDS = new Set(["succeeded", "failed", "expired", "cancelled", "dead"]);

function intent(data) {
  const [subject, resource] = [object(data.subject), object(data.resource)];
  return { kind: "intent", what: `${short(resource.scope) || "use"} ${short(resource.id) || "a resource"}`, who: short(subject.id) || short(data.actor) };
}

function decision(data, subject) {
  const outcome = data.decision === "allow" || data.decision === "deny" ? data.decision : "unknown";
  const reasons = list(data.reasons).map(words).join(", ");
  const bound = Object.entries(object(data.obligations)).map(([name, value]) => `${words(name)} ${short(value)}`).join(", ");
  return { kind: "decision", outcome, what: reasons || (bound ? `allowed, bound to ${bound}` : short(data.explanation) || "by policy"), who: short(data.policy_ref), txId: subject };
}

function work(data) {
  const agent = short(data.agent);
  const attempt = amount(data.attempt) > 1 ? ` · attempt ${count(data.attempt)}` : "";
  const code = data.code ? ` · ${words(short(data.code))}` : "";
  return { agent, what: `${agent || "an agent"}${code}${attempt}`, who: short(data.caller), cents: amount(data.costCents) || null };
}

function budget(data, subject) {
  const percent = amount(data.percent) ?? 0;
  const [used, limit] = [cents(amount(data.usedCents) ?? NaN), cents(amount(data.limitCents) ?? NaN)];
  return { kind: "budget", outcome: `${percent} %`, tone: percent >= 100 ? "bad" : percent >= 80 ? "warn" : "plain", agent: short(data.agent), what: `${short(data.agent)}: ${used} of ${limit} reserved or spent`, txId: subject };
}

function ledger(data, last) {
  const [size, added] = [amount(data.size), amount(data.entries) ?? amount(data.added)];
  const grown = added === null ? "" : `${plural(added, "new entry", "new entries")}, `;
  return { kind: "ledger", outcome: last === "checkpoint" ? "signed" : words(last), tone: toneOf(last), what: size === null ? short(data.origin) : `${grown}${count(size)} in all`, who: size === null ? "" : short(data.origin) };
}

function policyText(data, subject) {
  return [short(data.policy_ref) || short(data.topic) || subject, list(data.reasons).map(words).join(", "), short(data.version) && `version ${short(data.version).slice(0, 12)}`].filter(Boolean).join(" · ");
}

function person(data) {
  return short(data.caller) || short(data.actor) || short(data.by);
}

export function short(value) {
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") return "";
  const text = String(value);
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
}

export function object(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

export function list(value) {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string").slice(0, 20).map(short) : [];
}

export function amount(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function parsed(text) {
  try {
    return object(JSON.parse(text));
  } catch {
    return null;
  }
}
