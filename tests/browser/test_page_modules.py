"""What the page makes of streams, messages, filters and numbers: its modules by themselves, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[[str, Any], Any]
ODD = (
    "id: 1\ndata: one\n\n: a comment\n\nid: 2\n\ndata\ndata: a\r\ndata:b\r\n\r\n"
    "event: gap\ndata: {}\rid: 3\r\rretry: 5\n\ndata: cut"
)

TYPES = [
    *("access.intent", "mesh.access.requested", "mesh.access.decided", "mesh.task.succeeded", "mesh.run.failed"),
    *("mesh.budget.threshold", "mesh.ledger.checkpoint", "mesh.policy.activated", "mesh.relay.denied"),
    *("mesh.new.thing", "own.topic"),
]
NAMES = [
    *("subject", "resource", "context", "decision", "reasons", "obligations", "agent", "costCents", "percent"),
    *("size", "entries", "attempt", "code", "policy_ref"),
]


def test_a_stream_is_read_the_same_however_it_is_cut(modules: Run) -> None:
    found = modules(
        """
        const { EventStreamReader } = await load("sse");
        const read = (pieces) => {
            const reader = new EventStreamReader("0");
            return JSON.stringify([pieces.flatMap((piece) => reader.read(piece)), reader.lastEventId]);
        };
        const wholes = new Set();
        for (let at = 0; at <= arg.length; at++) wholes.add(read([arg.slice(0, at), arg.slice(at)]));
        wholes.add(read([...arg]));
        return [...wholes].map(JSON.parse);
        """,
        ODD,
    )
    events = [
        {"event": "message", "data": "one", "id": "1"},
        {"event": "message", "data": "\na\nb", "id": "2"},
        {"event": "gap", "data": "{}", "id": "3"},
    ]
    assert found == [[events, "3"]]


def test_a_line_without_an_end_is_not_kept_forever(modules: Run) -> None:
    refused = modules(
        """
        const { EventStreamReader } = await load("sse");
        const reader = new EventStreamReader();
        try {
            for (let piece = 0; piece < 9; piece++) reader.read("x".repeat(1024 * 1024));
        } catch (error) {
            return error.name;
        }
        """,
        None,
    )
    assert refused == "RangeError"


def test_attempts_are_spread_and_never_further_apart_than_half_a_minute(modules: Run) -> None:
    delays = modules(
        """
        const { delayMs, retryAfterMs } = await load("backoff");
        const attempts = [...Array(20).keys()];
        return {
            least: attempts.map((each) => delayMs(each, () => 0)),
            most: attempts.map((each) => delayMs(each, () => 1)),
            after: ["7", "x", "-1", null, "99999"].map(retryAfterMs),
        };
        """,
        None,
    )
    assert delays["most"][:7] == [500, 1000, 2000, 4000, 8000, 16000, 30000]
    assert delays["most"][-1] == 30000
    assert all(2 * least == most for least, most in zip(delays["least"], delays["most"], strict=True))
    assert delays["after"] == [7000, 0, 0, 0, 0]


def test_nothing_that_a_message_holds_is_taken_for_what_it_should_be(modules: Run) -> None:
    rows = modules(
        """
        const { rowOf } = await load("rows");
        const hostile = [null, 1, "text", [], { toString: 1 }, { id: {} }, true, "x".repeat(500), "constructor"];
        const { types, names } = arg;
        const rows = [];
        for (const type of types) for (const value of hostile) {
            const data = Object.fromEntries(names.map((name) => [name, value]));
            const event = { type, subject: value, data };
            for (const payload of [value, event, { type: value, subject: value, data: value }, data]) {
                rows.push(rowOf(JSON.stringify({ id: "1", ts: 1, topic: type, payload })));
            }
        }
        const texts = ["what", "who", "outcome", "txId", "agent", "kind", "tone", "haystack", "raw", "type", "key"];
        const isText = (row, name) => typeof row[name] === "string";
        const wellTyped = (row) => row && texts.every((name) => isText(row, name)) && row.what.length < 1000;
        const tones = new Set(rows.map(({ tone }) => tone));
        const counted = (row) => Number.isFinite(row.charged) && (row.cents === null || Number.isFinite(row.cents));
        const odd = rows.filter((row) => !wellTyped(row) || !counted(row));
        const none = ["", "null", "[]", "{}", '{"id":1,"ts":1}', '{"id":"1","ts":"1"}', "{", '"x"'].map(rowOf);
        return { count: rows.length, odd, none, tones: [...tones].sort() };
        """,
        {"types": TYPES, "names": NAMES},
    )
    assert rows["count"] == 11 * 9 * 4
    assert rows["odd"] == []
    assert set(rows["tones"]) <= {"bad", "good", "plain", "warn"}
    assert rows["none"] == [None] * 8


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("kind=task", [0, 1]),
        ("kind=task&kind=decision", [0, 1, 2]),
        ("outcome=trouble", [1, 2]),
        ("outcome=deny", [2]),
        ("agent=LIGHT", [0]),
        ("q=risk", [2]),
        ("q=task_2+failed", [1]),
        ("q=task_2+succeeded", []),
        ("kind=nonsense&outcome=nonsense", [0, 1, 2, 3, 4]),
    ],
)
def test_a_filter_in_the_address_shows_what_it_says(modules: Run, query: str, shown: list[int]) -> None:
    found = modules(
        """
        const { filterFrom, matcher, queryOf } = await load("filters");
        const { rowOf } = await load("rows");
        const event = (type, subject, data) => {
            const payload = { type, subject, data };
            return rowOf(JSON.stringify({ id: subject, ts: 1, topic: type, payload }));
        };
        const rows = [
            event("mesh.task.succeeded", "task_1", { agent: "light", costCents: 5 }),
            event("mesh.task.failed", "task_2", { agent: "heavy" }),
            event("mesh.access.decided", "tx_1", { decision: "deny", reasons: ["session_risk_too_high"] }),
            event("mesh.access.requested", "tx_1", { subject: { id: "u1" } }),
            event("mesh.ledger.checkpoint", "log", { size: 5 }),
        ];
        const filter = filterFrom(new URLSearchParams(arg));
        const again = filterFrom(new URLSearchParams(queryOf(filter)));
        const matches = matcher(again);
        return rows.flatMap((row, at) => (matches(row) ? [at] : []));
        """,
        query,
    )
    assert found == shown


def test_the_store_forgets_the_oldest_sorts_and_shows_nothing_twice(modules: Run) -> None:
    found = modules(
        """
        const { Store } = await load("store");
        const { EVERYTHING } = await load("filters");
        const store = new Store(EVERYTHING);
        const rest = { kind: "task", haystack: "", tone: "", outcome: "" };
        const row = (ts) => ({ key: `k${ts}`, ts, agent: `a${ts % 3}`, ...rest });
        store.add([row(5), row(3), row(5)]);
        store.add([row(4)]);
        const sorted = store.shown.map(({ ts }) => ts);
        store.hold(true);
        store.add([row(6), row(6), row(7)]);
        const held = [store.shown.length, store.waiting];
        store.hold(false);
        const released = [store.shown.length, store.waiting];
        for (let ts = 10; ts < 25_010; ts++) store.add([row(ts)]);
        const { size, shown, agents } = store;
        const newest = shown.at(-1).ts;
        return { sorted, held, released, size, shown: shown.length, newest, agents: agents.size };
        """,
        None,
    )
    assert found["sorted"] == [3, 4, 5]
    assert found["held"] == [3, 2]
    assert found["released"] == [5, 0]
    assert 9_000 < found["size"] <= 10_000
    assert found["shown"] == found["size"]
    assert (found["newest"], found["agents"]) == (25_009, 3)


def test_money_is_charged_once_and_counted_in_the_step_it_was_charged_in(modules: Run) -> None:
    window = modules(
        """
        const { Rates, total, niceMost } = await load("rates");
        const { rowOf } = await load("rows");
        const rates = new Rates();
        const event = (type, ts) => {
            const payload = { type, subject: "t", data: { costCents: 7 } };
            rates.add(rowOf(JSON.stringify({ id: type, ts, topic: type, payload })));
        };
        event("mesh.task.accepted", 1000);
        event("mesh.run.succeeded", 1001);
        event("mesh.task.succeeded", 1002);
        event("mesh.task.succeeded", 1010);
        event("mesh.task.succeeded", 400);
        const { kinds, cents } = rates.window(1_012_000);
        const most = [0, 1, 3, 5, 7, 11, 490].map(niceMost);
        return { cents: cents.slice(-3), task: total(kinds.task), run: total(kinds.run), most };
        """,
        None,
    )
    assert window == {"cents": [7, 0, 7], "task": 3, "run": 1, "most": [1, 1, 5, 5, 10, 20, 500]}


def test_numbers_are_written_for_people(modules: Run) -> None:
    found = modules(
        """
        const { cents, duration, plural, moment } = await load("format");
        return {
            cents: [0, 5, 99, 100, 123456, NaN].map(cents),
            durations: [12, 1500, 61_000, 3_700_000, -1, NaN].map(duration),
            plurals: [plural(1, "entry", "entries"), plural(1200, "message")],
            moments: [moment(1.5), moment("1970-01-01T00:00:02Z"), String(moment({}))],
        };
        """,
        None,
    )
    assert found["cents"] == ["0 ¢", "5 ¢", "99 ¢", "$1.00", "$1,234.56", ""]
    assert found["durations"] == ["12 ms", "1.5 s", "1 min 1 s", "1 h 1 min", "", ""]
    assert found["plurals"] == ["1 entry", "1,200 messages"]
    assert found["moments"] == [1500, 2000, "NaN"]


def test_a_story_tells_once_what_events_and_documents_both_tell(modules: Run) -> None:
    story = modules(
        """
        const { storyOf } = await load("story");
        const at = (second) => `2026-11-20T10:00:0${second}Z`;
        const record = (event, second) => ({
            index: second, id: `e${second}`, event, actor: "a", ts: at(second), entry: "", receipt: null,
            payload: { source: "/orchestrator", time: at(second), data: { agent: "light" } },
        });
        const { title, outcome, steps } = storyOf({
            tx_id: "task_1",
            records: [record("mesh.task.dead", 4), record("mesh.task.accepted", 1)],
            task: {
                taskId: "task_1", status: "dead", createdAt: at(1), finishedAt: at(4),
                error: { code: "broken", detail: "It broke." },
            },
            timeline: [
                { at: "2026-11-20T10:00:01Z", event: "accepted", detail: "by a" },
                { at: "2026-11-20T10:00:02Z", event: "claimed", detail: "agent light started", attempt: 1 },
                { at: "2026-11-20T10:00:03Z", event: "finished", detail: "dead, 2 cents", attempt: 1 },
                { at: "2026-11-20T10:00:04Z", event: "dead", detail: "It broke." },
            ],
            dead: { deadId: "d", reason: "terminal_error", at: at(5), attempts: 1, detail: "It broke." },
        });
        return { title, outcome, steps: steps.map((step) => [step.title, step.tone, step.text]) };
        """,
        None,
    )
    assert (story["title"], story["outcome"]) == ("Task", "dead")
    assert story["steps"] == [
        ["The task was accepted", "plain", ""],
        ["The agent started", "plain", "agent light started"],
        ["The run ended", "plain", "dead, 2 cents"],
        ["The task failed for good", "bad", "It broke."],
        ["It lies with the dead letters", "bad", "It broke."],
    ]


def test_a_story_of_odd_values_is_told_without_taking_them_for_more(modules: Run) -> None:
    titles = modules(
        """
        const { storyOf } = await load("story");
        const hostile = [null, 1, "constructor", "__proto__", [], [[]], {}, { data: 1 }, { data: { decision: {} } }];
        const told = [];
        for (const value of hostile) {
            const record = { index: value, id: value, event: value, actor: value, ts: value, payload: value };
            const decided = { event: "mesh.access.decided", payload: { data: { obligations: value, reasons: value } } };
            const entry = { at: value, event: value, detail: value, attempt: value, percent: value };
            const answers = [
                { records: [record, decided], task: null },
                { records: [record], task: { status: value, error: value, agent: value }, timeline: [entry, value] },
                { records: value, task: value, timeline: value, run: value, dead: value, why: value },
                { records: [decided], task: null, why: { summary: value, reasons: value, next: value }, dead: [value] },
            ];
            for (const answer of answers) told.push(...storyOf(answer).steps.map(({ title }) => typeof title));
        }
        return [...new Set(told)];
        """,
        None,
    )
    assert titles == ["string"]
