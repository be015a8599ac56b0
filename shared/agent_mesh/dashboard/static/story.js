// From what the server knows of one id to a story: a head, and steps in the order of time. Pure; nothing is drawn here.

import { moment, words } from "./format.js";
import { amount, list, object, short, toneOf } from "./rows.js";

const NAMES = {
  __proto__: null, // whatever an event is called, it must not find what every object has
  "mesh.access.requested": "Access was asked for",
  "mesh.access.decided": "Policy decided",
  "mesh.task.accepted": "The task was accepted",
  "mesh.task.succeeded": "The task succeeded",
  "mesh.task.failed": "The task failed",
  "mesh.task.expired": "The task expired",
  "mesh.task.cancelled": "The task was cancelled",
  "mesh.task.rejected": "The task was refused before it ran",
  "mesh.task.dead": "The task failed for good",
  "mesh.run.succeeded": "The agent returned a result",
  "mesh.run.failed": "The agent failed",
  "mesh.run.retrying": "An attempt failed and may be repeated",
  "mesh.run.expired": "The run was too late to start",
  "mesh.run.cancelled": "The handler stopped",
  "mesh.run.rejected": "The run was too dear to start",
  "mesh.run.dead": "The agent gave up for good",
  "mesh.budget.threshold": "A budget reached a threshold",
};

const MOMENTS = {
  __proto__: null,
  accepted: "The task was accepted",
  received: "The task was received",
  scheduled: "It waits for its time",
  parked: "It waits: the agent is paused",
  claimed: "The agent started",
  progress: "Progress",
  attempt_failed: "An attempt failed",
  finished: "The run ended",
  cancel_requested: "Somebody asked to cancel it",
  callback_delivered: "The caller was told",
  callback_failed: "The caller could not be told",
};

// Returns {title, outcome, tone, facts: [[name, value]], why, steps}. A step is {at, title, tone, outcome, facts, text,
// json, event?, record?, explained?}; one with a `record` stands in the ledger.
export function storyOf(answer) {
  const records = array(answer.records).map(object);
  const task = answer.task ? object(answer.task) : null;
  const steps = [...records.map((record) => recordStep(record, task)), ...timelineSteps(answer.timeline, records), ...deadSteps(answer.dead)];
  const ordered = steps.map((step, at) => ({ step, at })).sort((one, other) => order(one.step) - order(other.step) || rank(one.step) - rank(other.step) || one.at - other.at);
  return { ...headOf(records, task), why: whyOf(answer.why), steps: ordered.map(({ step }) => step) };
}

function order({ at }) {
  return Number.isFinite(at) ? at : Infinity;
}

// What happened in one millisecond is told in the order in which it must have happened.
function rank({ event = "" }) {
  const at = ["mesh.access.requested", "mesh.access.decided", "mesh.task.accepted"].indexOf(event);
  return at < 0 ? (event.startsWith("mesh.task.") ? 9 : 5) : at;
}

function headOf(records, task) {
  if (task) return taskHead(task);
  const decided = records.findLast(({ event }) => event === "mesh.access.decided");
  const asked = records.find(({ event }) => event === "mesh.access.requested");
  const told = records.findLast(({ event }) => /^mesh\.(task|run)\./.test(event));
  if (!decided && !asked && told) return toldTask(records, told);
  if (!decided && !asked) return { title: "Transaction", outcome: "", tone: "plain", facts: [["Records", String(records.length)]] };
  const [decision, request] = [eventOf(decided ?? {}).fields, eventOf(asked ?? {}).fields];
  const outcome = decided ? short(decision.decision) : "undecided";
  return {
    title: "Access decision", outcome, tone: toneOf(outcome),
    facts: [["Subject", named(request.subject)], ["Resource", named(request.resource)], ["Rule", short(decision.policy_ref)], ["Risk after", short(decision.risk_after)]],
  };
}

// A task whose document has gone, or is not there yet: what its events say.
function toldTask(records, last) {
  const ended = records.findLast(({ event }) => /^mesh\.task\.(?!accepted)/.test(event)) ?? last;
  const { fields } = eventOf(ended);
  const outcome = ended.event.split(".").at(-1);
  return { title: "Task", outcome, tone: toneOf(outcome), facts: [["Agent", short(fields.agent)], ["Caller", short(fields.caller)], ["Charged", { cents: amount(fields.costCents) || null }]] };
}

function taskHead(task) {
  const outcome = short(task.status);
  return {
    title: "Task", outcome, tone: toneOf(outcome),
    facts: [
      ["Agent", short(task.agent)], ["Caller", short(task.caller)], ["Charged", { cents: amount(task.costCents) }], ["Budget", { cents: amount(task.budgetCents) }],
      ["Took", { ms: moment(task.finishedAt) - moment(task.createdAt) }], ["Mode", short(task.mode)], ["Key", short(task.idempotencyKey)], ["Trace", { hash: short(task.traceId) }], ["Replay of", { tx: short(task.replayOf) }],
    ],
  };
}

// The payload of a record that an event made holds the event's data beside where it came from.
function eventOf(record) {
  const payload = object(record.payload);
  return { payload, fields: Object.hasOwn(payload, "data") ? object(payload.data) : payload };
}

function whyOf(why) {
  const { summary, next, reasons } = object(why);
  return summary ? { summary: short(summary), next: short(next), reasons: list(reasons) } : null;
}

function recordStep(record, task) {
  const { payload, fields } = eventOf(record);
  const event = short(record.event);
  const decision = event === "mesh.access.decided" || fields.decision === "allow" || fields.decision === "deny";
  const outcome = decision ? short(fields.decision) : event.split(".").at(-1);
  return {
    at: first(moment(payload.time), moment(record.ts)),
    title: NAMES[event] ?? words(event),
    event,
    outcome: decision ? outcome : "",
    tone: toneOf(outcome),
    facts: decision ? decisionFacts(fields) : event === "mesh.access.requested" ? intentFacts(fields) : workFacts(fields, record),
    text: decision ? short(fields.explanation) : event === `mesh.task.${task?.status}` ? short(object(task.error).detail) : "",
    json: record.payload ?? null,
    explained: decision || (/^mesh\.task\.(accepted|rejected)$/.test(event) && Boolean(object(fields.policy).digest)),
    record,
  };
}

function decisionFacts(fields) {
  const obligations = Object.entries(object(fields.obligations)).map(([name, value]) => `${words(name)}: ${short(value)}`);
  return [
    ["Rule", short(fields.policy_ref)], ["Because", list(fields.reasons).map(words).join(", ")], ["Obligations", obligations.join(", ")], ["Risk after", short(fields.risk_after)],
    ["Policy version", { hash: short(fields.policy_version) }], ["Digest", { hash: short(fields.digest) }],
  ];
}

function intentFacts(fields) {
  const context = Object.entries(object(fields.context)).map(([name, value]) => `${words(name)}: ${short(value)}`);
  return [["Subject", named(fields.subject)], ["Resource", named(fields.resource)], ["Context", context.slice(0, 12).join(", ")], ["Asked by", short(fields.actor)]];
}

function workFacts(fields, record) {
  const percent = amount(fields.percent);
  return [
    ["Agent", short(fields.agent)], ["Actor", short(fields.caller) || short(record.actor)], ["Cost", { cents: amount(fields.costCents) || null }], ["Attempt", amount(fields.attempt) > 1 ? short(fields.attempt) : ""],
    ["Code", fields.code ? words(short(fields.code)) : ""], ["Reached", percent === null ? "" : `${percent} %`], ["Rule", short(object(fields.policy).ref)],
  ];
}

// What the task's own documents tell and no event has told already. Events may be lost; documents are not.
function timelineSteps(timeline, records) {
  const told = new Set(records.map(({ event }) => short(event)));
  const runTold = [...told].some((event) => /^mesh\.run\.(?!retrying)/.test(event));
  const known = { __proto__: null, accepted: told.has("mesh.task.accepted"), received: told.has("mesh.task.rejected"), finished: runTold, attempt_failed: told.has("mesh.run.retrying") };
  return array(timeline)
    .map(object)
    .filter(({ event }) => !(known[event] ?? told.has(`mesh.task.${event}`)))
    .map(({ at, event, detail, attempt, percent }) => ({
      at: moment(at), title: MOMENTS[event] ?? NAMES[`mesh.task.${event}`] ?? words(short(event)), tone: toneOf(event), outcome: "",
      facts: [["Attempt", short(attempt)], ["Done", amount(percent) === null ? "" : `${percent} %`]], text: short(detail), json: null,
    }));
}

function deadSteps(dead) {
  const letters = Array.isArray(dead) ? dead : dead ? [dead] : [];
  return letters.map(object).map((letter) => ({
    at: moment(letter.at), title: "It lies with the dead letters", tone: "bad", outcome: "dead",
    facts: [["Reason", words(short(letter.reason))], ["Deliveries", short(letter.attempts)]], text: short(letter.detail), json: letter,
  }));
}

function named(value) {
  const { id, enterprise, scope } = object(value);
  return [short(id) || short(value), short(scope), enterprise === undefined ? "" : `enterprise ${short(enterprise)}`].filter(Boolean).join(" · ");
}

function first(...moments) {
  return moments.find(Number.isFinite) ?? NaN;
}

function array(value) {
  return Array.isArray(value) ? value : [];
}
