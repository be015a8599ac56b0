"""Who may read, by which proof, and what a reader is never shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.mesh import STRANGER, Answer, assert_problem, eventually, unique
from tests.contract.relay.reader import OTHER, Reader, Relay

UI = "https://ui.example"


def refused(reader: Reader) -> tuple[int, str]:
    body = json.loads(reader.response.read())
    reader.connection.close()
    return reader.response.status, body["code"]


def ticket_for(relay: Relay, *topics: str, email: str = "") -> str:
    answer = relay.mesh.post("/tickets", {"topics": topics}, role="relay", email=email)
    assert answer.status == 200, answer.body
    assert answer.json["expires_in"] == 60
    return str(answer.json["ticket"])


def test_a_stream_needs_a_proof_of_who_reads(relay: Relay) -> None:
    assert refused(relay.open("/subscribe", {"topic": "a"}, email=None)) == (401, "unauthenticated")
    assert refused(relay.open("/subscribe", {"topic": "a"}, email=STRANGER)) == (403, "forbidden")


def test_callers_may_not_name_the_topics_of_the_mesh(relay: Relay) -> None:
    for pattern in ("mesh.task.accepted", "mesh.*", "mesh.**"):
        stream = relay.open("/subscribe", {"topic": ["a", pattern]}, email=relay.other_caller)
        assert refused(stream) == (403, "topic_denied")
    assert relay.get("/history?topic=mesh.task.accepted", email=relay.other_caller).status == 403
    assert relay.get("/presence?topic=mesh.task.accepted", email=relay.other_caller).status == 403
    topics = {"topics": ["mesh.**"]}
    assert relay.mesh.post("/tickets", topics, role="relay", email=relay.other_caller).status == 403


def test_a_callers_stream_over_everything_has_nothing_of_the_mesh(relay: Relay) -> None:
    topic = unique("t")
    assert relay.publish("mesh.x", {}, email=relay.other_caller).status == 403  # the denial is an event of the mesh
    with relay.read("**") as operator, relay.read("**", email=relay.other_caller) as caller:
        assert relay.publish("mesh.x", {}, email=relay.other_caller).status == 403
        relay.published(topic, 1)
        eventually(lambda: [each for each in operator.events if each.data["topic"] == topic])
        eventually(lambda: [each for each in caller.events if each.data["topic"] == topic])
        eventually(lambda: [each for each in operator.events if each.data["topic"] == "mesh.relay.denied"])
    assert not [each for each in caller.events if each.data["topic"].startswith("mesh.")]
    assert "mesh." not in caller.last_event_id


def test_topics_are_listed_page_by_page_and_only_those_one_may_read(relay: Relay) -> None:
    word = unique("w")
    for number in range(3):
        relay.published(f"{word}.{number}", number)
    relay.publish("mesh.x", {}, email=relay.other_caller)

    def listed(email: str) -> list[str]:
        found: list[str] = []
        page: dict[str, Any] = {"next_cursor": ""}
        while (cursor := page.get("next_cursor")) is not None:
            page = relay.get(f"/topics?limit=2{f'&cursor={cursor}' if cursor else ''}", email=email).json
            found += page["topics"]
        return found

    eventually(lambda: "mesh.relay.denied" in listed(""))
    assert [name for name in listed(relay.other_caller) if name.startswith(word)] == [f"{word}.{n}" for n in range(3)]
    assert not [name for name in listed(relay.other_caller) if name.startswith("mesh.")]
    assert listed("") == sorted(set(listed("")))


def test_a_ticket_opens_one_stream_on_any_instance_as_its_buyer(relay: Relay) -> None:
    topic = unique("t")
    relay.published(topic, 1)
    ticket = ticket_for(relay, topic, "**", email=relay.other_caller)
    with relay.open("/subscribe", {"topic": topic, "ticket": ticket}, role=OTHER, email=None) as reader:
        reader.wait_for(1)
    again = relay.open("/subscribe", {"topic": topic, "ticket": ticket}, email=None)
    assert refused(again) == (401, "unauthenticated")


@pytest.mark.parametrize("ticket", ["", "ticket_x.y", "ticket_" + "a" * 26 + "." + "b" * 43, "é", "a\0b"])
def test_a_ticket_that_nobody_sold_opens_nothing(relay: Relay, ticket: str) -> None:
    stream = relay.open("/subscribe", {"topic": "a", "ticket": ticket}, email=None)
    assert refused(stream) == (401, "unauthenticated")


def test_a_ticket_is_for_its_topics_only(relay: Relay) -> None:
    ticket = ticket_for(relay, "a.b")
    assert refused(relay.open("/subscribe", {"topic": "a.c", "ticket": ticket}, email=None)) == (403, "forbidden")
    assert refused(relay.open("/publish", {"ticket": ticket}, email=None))[0] in {401, 405}


@pytest.mark.parametrize(
    ("query", "last"),
    [
        ({}, ""),
        ({"topic": ""}, ""),
        ({"topic": "a b"}, ""),
        ({"topic": "**.a"}, ""),
        ({"topic": ["a"] * 17}, ""),
        ({"topic": "a", "other": "1"}, ""),
        ({"topic": "a"}, "yesterday"),
        ({"topic": "a.*"}, "1~b=2"),
        ({"topic": "a"}, "9" * 5000),
        ({"topic": "a", "last_event_id": "-1"}, ""),
    ],
)
@pytest.mark.parametrize("path", ["/subscribe", "/ws"])
def test_a_stream_that_cannot_be_is_refused_before_it_begins(
    relay: Relay, path: str, query: dict[str, Any], last: str
) -> None:
    reader = relay.open(path, query, last=last)
    assert refused(reader) in {(422, "invalid_request"), (400, "malformed_request"), (426, "upgrade_required")}


def from_origin(relay: Relay, origin: str, method: str, path: str) -> Answer:
    asked = {"Origin": origin, "Access_Control_Request_Method": "POST"}
    return relay.mesh.request(method, path, role="relay", body=None, **asked)


def test_pages_of_an_allowed_origin_may_ask(relay: Relay) -> None:
    preflight = from_origin(relay, UI, "OPTIONS", "/tickets")
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, UI)
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    answer = from_origin(relay, UI, "GET", "/subscribe?topic=a")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, UI)
    assert "access-control-allow-credentials" not in answer.headers
    assert_problem(answer)


def test_pages_of_another_origin_may_not(relay: Relay) -> None:
    for method, path in (("OPTIONS", "/tickets"), ("GET", "/subscribe?topic=a")):
        assert "access-control-allow-origin" not in from_origin(relay, "https://evil.example", method, path).headers
    assert "access-control-allow-origin" not in from_origin(relay, UI, "OPTIONS", "/publish").headers
