"""The bytes of a stream, read back by a parser written from the standard's own steps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.relay import Delivery, End, EndReason, Gap, GapReason, Heartbeat, Message, StreamEvent
from agent_mesh.relay.sse import RECONNECT_MS, block, comment, format_event, formatted

MESSAGE = Message("t.a", 1_800_000_000_000_000, 0, '{"text":"one\\ntwo\u2028ü"}')


@dataclass
class EventSource:
    """Section 9.2.6, "Interpreting an event stream"."""

    events: list[tuple[str, str, str]] = field(default_factory=list)
    last_event_id: str = ""
    retry_ms: int | None = None

    def read(self, stream: bytes) -> EventSource:
        data, kind, event_id = "", "", self.last_event_id
        text = stream.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        for line in text.split("\n")[:-1]:
            name, colon, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                self.last_event_id = event_id
                if data:
                    self.events.append((kind or "message", data.removesuffix("\n"), event_id))
                data, kind = "", ""
            elif colon and not name:
                continue
            elif name == "event":
                kind = value
            elif name == "data":
                data += value + "\n"
            elif name == "id" and "\0" not in value:
                event_id = value
            elif name == "retry" and value.isascii() and value.isdigit():
                self.retry_ms = int(value)
        return self


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


LINE = st.text().filter(lambda text: not set(text) & set("\r\n\0"))


@given(st.text(min_size=1), LINE, LINE)
def test_whatever_the_data_it_comes_back(data: str, kind: str, event_id: str) -> None:
    reader = EventSource().read(block(data=data, event=kind, event_id=event_id).encode())
    assert reader.events == [(kind or "message", normal(data), event_id)]
    assert reader.last_event_id == event_id


@given(st.text())
def test_a_comment_fires_nothing(text: str) -> None:
    reader = EventSource().read((comment(text) + block(data="x")).encode())
    assert [data for _, data, _ in reader.events] == ["x"]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\r\ndata: forged", "a\0"])
def test_an_id_or_a_name_cannot_break_out_of_its_line(value: str) -> None:
    with pytest.raises(ValueError, match="line end or NUL"):
        block(data="x", event_id=value)
    with pytest.raises(ValueError, match="line end or NUL"):
        block(data="x", event=value)


def test_a_stream_begins_with_the_time_to_wait_before_connecting_again() -> None:
    reader = EventSource().read(b"".join(formatted([])))
    assert (reader.retry_ms, reader.events) == (RECONNECT_MS, [])


def test_a_message_is_an_event_without_a_name_and_its_id_resumes() -> None:
    reader = EventSource().read(b"".join(formatted([[Delivery(MESSAGE, "cursor")]])))
    ((kind, data, event_id),) = reader.events
    assert (kind, event_id, reader.last_event_id) == ("message", "cursor", "cursor")
    assert json.loads(data) == json.loads(MESSAGE.data)
    assert json.loads(data)["payload"]["text"] == "one\ntwo\u2028ü"


def test_a_heartbeat_fires_nothing_and_may_move_the_id_on() -> None:
    events: list[StreamEvent] = [Delivery(MESSAGE, "one"), Heartbeat(None), Heartbeat("two")]
    streams = [b"".join(map(format_event, events[:length])) for length in (2, 3)]
    assert [EventSource().read(stream).last_event_id for stream in streams] == ["one", "two"]
    assert [len(EventSource().read(stream).events) for stream in streams] == [1, 1]
    assert all(format_event(event).startswith(b":") for event in events[1:])


def test_gaps_and_ends_have_names_and_leave_the_id() -> None:
    events: list[StreamEvent] = [Delivery(MESSAGE, "one"), Gap("t.a", GapReason.TOO_OLD), End(EndReason.SLOW)]
    reader = EventSource().read(b"".join(formatted([events[:2], events[2:]])))
    assert reader.events[1:] == [
        ("gap", '{"topic":"t.a","reason":"too_old"}', "one"),
        ("end", '{"reason":"slow"}', "one"),
    ]
