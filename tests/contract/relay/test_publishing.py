"""What may be published, by whom, and how often it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.mesh import assert_problem, envelope_of, eventually, unique
from tests.contract.relay.reader import OTHER, Relay


def test_a_repeated_key_publishes_once_and_answers_the_first_id(relay: Relay) -> None:
    topic, key = unique("t"), unique("k")
    first = relay.publish(topic, {"n": 1}, key=key)
    with relay.read(topic) as reader:
        again = relay.publish(topic, {"n": 1}, key=key, role=OTHER)
        relay.published(topic, 2)
        reader.wait_for(2)
    assert again.json == first.json == {"status": "ok", "event_id": first.json["event_id"]}
    assert reader.numbers == [1, 2]


def test_a_key_is_its_callers_own(relay: Relay) -> None:
    topic, key = unique("t"), unique("k")
    mine = relay.publish(topic, {"n": 1}, key=key)
    theirs = relay.publish(topic, {"n": 2}, key=key, email=relay.other_caller)
    assert theirs.status == 200
    assert theirs.json["event_id"] != mine.json["event_id"]


def test_a_key_that_was_used_for_something_else_is_refused(relay: Relay) -> None:
    topic, key = unique("t"), unique("k")
    assert relay.publish(topic, {"n": 1}, key=key).status == 200
    assert relay.publish(topic, {"n": 2}, key=key).refusal == (409, "idempotency_conflict")
    assert len(relay.get(f"/history?topic={topic}").json["messages"]) == 1


@pytest.mark.parametrize("who", ["operator", "caller"])
def test_nobody_publishes_what_only_the_mesh_says(relay: Relay, who: str) -> None:
    email = relay.other_caller if who == "caller" else ""
    answer = relay.publish("mesh.task.accepted", {"forged": True}, email=email)
    assert answer.refusal == (403, "topic_denied")
    assert_problem(answer)
    assert "topic_reserved_for_the_mesh" in answer.json["detail"]


def test_a_denial_is_an_event_that_operators_see(relay: Relay) -> None:
    topic = f"mesh.{unique('w')}"
    with relay.read("mesh.relay.denied") as reader:
        assert relay.publish(topic, {}, email=relay.other_caller).status == 403
        found = eventually(lambda: [each for each in reader.events if each.data["payload"]["subject"] == topic])
    denial = found[0].data["payload"]
    assert denial["type"] == "mesh.relay.denied"
    assert denial["data"]["caller"] == relay.other_caller
    assert denial["data"]["action"] == "publish"
    assert denial["data"]["reasons"] == ["topic_reserved_for_the_mesh"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"topic": "", "payload": {}}, 422),
        ({"topic": "a..b", "payload": {}}, 422),
        ({"topic": "a.*", "payload": {}}, 422),
        ({"topic": "a b", "payload": {}}, 422),
        ({"topic": "ä", "payload": {}}, 422),
        ({"topic": "a" * 129, "payload": {}}, 422),
        ({"topic": ["a"], "payload": {}}, 422),
        ({"topic": "a", "payload": []}, 422),
        ({"topic": "a", "payload": "text"}, 422),
        ({"topic": "a"}, 422),
        ({"payload": {}}, 422),
        ({"topic": "a", "payload": {}, "idempotency_key": ""}, 422),
        ({"topic": "a", "payload": {}, "idempotency_key": "k" * 256}, 422),
        ({"topic": "a", "payload": {}, "idempotencyKey": "k"}, 422),
        ({"topic": "a", "payload": {"n": "x" * 262_144}}, 422),
        ([], 422),
    ],
)
def test_what_cannot_be_published_is_refused_by_name(relay: Relay, body: object, status: int) -> None:
    answer = relay.mesh.post("/publish", body, role="relay")
    assert answer.status == status, answer.body
    assert_problem(answer)


@pytest.mark.parametrize("raw", [b"", b"{", b'{"topic":"a","payload":{"n":NaN}}', b"[" * 5000, b"\xff", b"null"])
def test_bytes_that_are_no_request_are_refused(relay: Relay, raw: bytes) -> None:
    answer = relay.mesh.raw("POST", "/publish", raw, role="relay")
    assert answer.status in {400, 422}, answer.body
    assert_problem(answer)


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """Return an event of the mesh."""
    envelope = {"specversion": "1.0", "id": unique("ev"), "source": "/test", "subject": "s", "time": "now", "data": {}}
    return envelope | {"type": kind} | fields


def test_an_event_of_the_mesh_is_published_once_under_its_type(relay: Relay) -> None:
    kind = f"mesh.{unique('w')}"
    told = event(kind, data={"n": 1})
    for _ in range(2):
        assert relay.mesh.push("/pubsub/events", told, role="relay").status == 204
    (message,) = relay.get(f"/history?topic={kind}").json["messages"]
    assert message["payload"]["id"] == told["id"]
    assert message["payload"]["data"] == {"n": 1}


def test_an_event_that_is_published_on_the_topic_of_events_is_streamed(relay: Relay) -> None:
    kind = f"mesh.{unique('w')}"
    with relay.read("mesh.**", role=OTHER) as reader:
        relay.mesh.publish("events", json.dumps(event(kind)).encode())
        eventually(lambda: [each for each in reader.events if each.data["topic"] == kind])


@pytest.mark.parametrize(
    "data",
    [
        b"no JSON",
        b"",
        b"[]",
        b'{"type":"mesh.a"}',
        b"[" * 5000,
        json.dumps(event("not.of.the.mesh")).encode(),
        json.dumps(event("mesh.")).encode(),
        json.dumps(event("mesh.a b")).encode(),
        json.dumps(event("mesh.a", data={"n": "x" * 300_000})).encode(),
    ],
    ids=["text", "empty", "list", "parts", "deep", "foreign", "bare", "no_topic", "large"],
)
def test_what_is_no_event_of_the_mesh_is_refused_for_ever(relay: Relay, data: bytes) -> None:
    answer = relay.mesh.push("/pubsub/events", data, role="relay")
    assert answer.status in {400, 422}, answer.body
    assert_problem(answer)


def test_a_push_that_is_no_envelope_is_refused(relay: Relay) -> None:
    broken = envelope_of({}) | {"message": {"data": "no base64!"}}
    assert relay.mesh.post("/pubsub/events", broken, role="relay").status == 400
    assert relay.mesh.post("/pubsub/events", {}, role="relay").status == 422


def test_only_the_subscription_may_push_events(relay: Relay) -> None:
    answer = relay.mesh.post("/pubsub/events", envelope_of(event("mesh.a")), role="relay", email=relay.mesh.developer)
    assert answer.refusal == (403, "forbidden")
