"""The live stream of somebody who is signed in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from agent_mesh.relay import Draft, History
from tests.unit.dashboard.conftest import OPERATOR, VIEWER, Browser, DashboardInHand, MakeDashboard

EVENTS = "/api/stream?topic=mesh.**&topic=access.intent"


def published(board: DashboardInHand, topic: str, *texts: str) -> None:
    History(board.parts.database, board.clock).append(topic, [Draft.of({"text": text}) for text in texts])


def blocks_of(answer: TestResponse) -> Iterator[dict[str, str]]:
    """The stream's blocks as they come: their fields, and comments under the empty name."""
    waiting = ""
    for piece in answer.iter_encoded():
        waiting += piece.decode()
        *whole, waiting = waiting.split("\n\n")
        for text in whole:
            yield {
                name: value.removeprefix(" ") for name, _, value in (line.partition(":") for line in text.split("\n"))
            }


def messages(answer: TestResponse, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for block in blocks_of(answer):
        if "data" in block and "event" not in block:
            found.append(json.loads(block["data"]) | {"cursor": block["id"]})
        if len(found) == count:
            break
    answer.close()
    return found


def test_a_stream_begins_with_what_is_stored_as_the_relay_tells_it(dashboard: DashboardInHand) -> None:
    published(dashboard, "mesh.task.accepted", "one", "two")
    published(dashboard, "access.intent", "three")
    published(dashboard, "else.where", "four")
    answer = dashboard.viewer().get(EVENTS)
    assert (answer.status_code, answer.content_type) == (200, "text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    found = messages(answer, 3)
    assert {message["payload"]["text"] for message in found} == {"one", "two", "three"}
    assert found[0].keys() == {"id", "ts", "topic", "payload", "cursor"}


def test_a_stream_goes_on_behind_the_last_event(dashboard: DashboardInHand) -> None:
    published(dashboard, "mesh.task.accepted", "one", "two")
    browser = dashboard.viewer()
    first, _ = messages(browser.get(EVENTS), 2)
    (second,) = messages(browser.get(EVENTS, Last_Event_ID=first["cursor"]), 1)
    assert second["payload"]["text"] == "two"


@pytest.mark.parametrize("cursor", ["x", "~", "9" * 5000, "1800000000000000~other.topic=1"])
def test_a_made_up_cursor_is_a_problem_before_anything_is_sent(dashboard: DashboardInHand, cursor: str) -> None:
    answer = dashboard.viewer().get("/api/stream?topic=mesh.**&topic=x", Last_Event_ID=cursor)
    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    "query", ["", "?topic=", "?topic=a..b", "?topic=**.a", "?" + "&".join(["topic=a"] * 17), "?topic=a&x=1"]
)
def test_a_stream_over_no_topics_is_a_problem(dashboard: DashboardInHand, query: str) -> None:
    assert dashboard.viewer().get(f"/api/stream{query}").status_code == 422


def test_a_stream_is_for_those_who_may_see_the_mesh(dashboard: DashboardInHand) -> None:
    assert dashboard.browser().get(EVENTS).status_code == 401
    for browser in (dashboard.viewer(OPERATOR), dashboard.viewer(VIEWER)):
        answer = browser.get(EVENTS)
        assert answer.status_code == 200
        answer.close()


def test_a_stream_ends_with_its_session_and_says_so(make_dashboard: MakeDashboard) -> None:
    board = make_dashboard(session_seconds=60)
    published(board, "mesh.task.accepted", "one")
    told = []
    for block in blocks_of(board.viewer().get(EVENTS)):
        told.append(block)
        if "data" in block:
            board.clock.advance(60)
            board.board.relay.publish("mesh.task.accepted", Draft.of({"text": "after the end"}))
    assert told[-1] == {"event": "end", "data": '{"reason":"session_ended"}'}
    assert "after the end" not in str(told)


def test_a_message_reaches_the_stream_as_it_is_published(dashboard: DashboardInHand) -> None:
    published(dashboard, "mesh.task.accepted", "one")
    answer = dashboard.viewer().get(EVENTS)
    blocks = blocks_of(answer)
    while "data" not in next(blocks):
        pass
    dashboard.board.relay.publish("mesh.task.succeeded", Draft.of({"text": "two"}))
    texts = (block["data"] for block in blocks if "data" in block)
    assert '"text":"two"' in next(texts)
    answer.close()


def test_a_viewer_may_watch_everything_and_is_told_so(dashboard: DashboardInHand) -> None:
    for email in (OPERATOR, VIEWER):
        assert dashboard.viewer(email).get("/api/session").get_json()["topics"] == ["**", "mesh.**", "access.intent"]


def test_a_head_request_opens_no_stream(dashboard: DashboardInHand) -> None:
    browser = dashboard.viewer()
    answer = browser.ask("HEAD", EVENTS)
    assert (answer.status_code, answer.data) == (200, b"")
    answer.close()
    assert dashboard.board.relay.hub.presence("mesh.task.accepted") == 0


def test_streams_of_many_people_end_when_they_leave(dashboard: DashboardInHand) -> None:
    published(dashboard, "mesh.task.accepted", "one")
    browser: Browser = dashboard.viewer()
    for _ in range(20):
        messages(browser.get(EVENTS), 1)
    assert dashboard.board.relay.hub.presence("mesh.task.accepted") == 0
