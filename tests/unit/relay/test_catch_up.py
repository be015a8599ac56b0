"""What never reached an instance is found in the history, once for all its streams."""

from __future__ import annotations

from pytest_mock import MockerFixture

from agent_mesh.relay import Delivery, Heartbeat, History, Hub, OpenStream, Relay, parse_patterns
from agent_mesh.relay.catch_up import catch_up
from tests.unit.relay.conftest import Append


def read(stream: OpenStream) -> list[int]:
    """Return what comes until there is nothing more."""
    found: list[int] = []
    for event in stream:
        if isinstance(event, Heartbeat):
            break
        assert isinstance(event, Delivery)
        found.append(event.message.number)
    return found


def test_streams_get_what_nobody_told_of_and_nothing_twice(
    relay: Relay, hub: Hub, history: History, append: Append
) -> None:
    append("t.a", 2)
    streams = [relay.open(parse_patterns(patterns)) for patterns in (["t.a"], ["t.*"], ["t.a", "t.b"])]
    for stream in streams:
        assert len(read(stream)) == 2
    silent = [message.number for message in append("t.a", 3)]
    catch_up(hub, history)
    assert [read(stream) for stream in streams] == [silent] * 3
    more = [message.number for message in append("t.a", 2)]
    catch_up(hub, history)
    catch_up(hub, history)
    assert [read(stream) for stream in streams] == [more] * 3
    assert [read(stream) for stream in streams] == [[]] * 3


def test_topics_that_began_unheard_are_found_by_their_pattern(
    relay: Relay, hub: Hub, history: History, append: Append
) -> None:
    stream = relay.open(parse_patterns(["t.**"]))
    read(stream)
    new = [message.number for message in append("t.new", 2)]
    catch_up(hub, history)
    assert read(stream) == new


def test_without_streams_nothing_is_read(hub: Hub, history: History, append: Append, mocker: MockerFixture) -> None:
    append("t.a")
    asked = mocker.spy(history, "latest")
    catch_up(hub, history)
    assert asked.call_count == 0


def test_a_pattern_that_has_come_to_mean_too_many_topics_keeps_the_others_from_nothing(
    relay: Relay, hub: Hub, history: History, append: Append
) -> None:
    stream = relay.open(parse_patterns(["t.a"]))
    crowd = relay.open(parse_patterns(["c.*"]))
    read(stream)
    read(crowd)
    for number in range(101):
        append(f"c.{number}")
    silent = [message.number for message in append("t.a")]
    catch_up(hub, history)
    assert read(stream) == silent
