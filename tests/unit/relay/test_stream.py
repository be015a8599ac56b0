"""What one reader gets, from the first connection over every other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise

import pytest
from pytest_mock import MockerFixture

from agent_mesh.contracts.problems import InvalidRequest, Unavailable
from agent_mesh.relay import (
    Delivery,
    End,
    EndReason,
    Gap,
    GapReason,
    Heartbeat,
    History,
    Hub,
    Message,
    Relay,
    StreamEvent,
    StreamLimits,
    TopicPattern,
    parse_patterns,
)
from agent_mesh.relay.messages import id_of, number_at
from tests.conftest import HandClock
from tests.unit.relay.conftest import Append

ONE = parse_patterns(["t.a"])
MANY = parse_patterns(["t.*"])
DAY = 86400.0


def until_quiet(stream: Iterator[StreamEvent]) -> list[StreamEvent]:
    """Read until there is nothing more at the moment."""
    read: list[StreamEvent] = []
    for event in stream:
        if isinstance(event, Heartbeat):
            break
        read.append(event)
    return read


def messages(events: list[StreamEvent]) -> list[Message]:
    return [event.message for event in events if isinstance(event, Delivery)]


def cursor(stream: Iterator[StreamEvent]) -> str:
    """Return the cursor of a reader with nothing more to read."""
    *_, last = [*until_quiet(stream), next(stream)]
    assert isinstance(last, Heartbeat)
    return last.cursor or ""


def test_a_stream_begins_with_the_history_and_goes_on_live(relay: Relay, hub: Hub, append: Append) -> None:
    stored = append("t.a", 2)
    stream = relay.open(ONE)
    first = until_quiet(stream)
    assert messages(first) == stored
    assert [event.cursor for event in first if isinstance(event, Delivery)] == [each.message_id for each in stored]
    (live,) = append("t.a")
    hub.publish(live)
    assert messages(until_quiet(stream)) == [live]


def test_nothing_falls_between_history_and_live_and_nothing_comes_twice(relay: Relay, hub: Hub, append: Append) -> None:
    stored = append("t.a", 2)
    stream = relay.open(ONE)
    (event,) = islice(stream, 1)
    late = append("t.a", 2)
    for message in (*stored, *late):
        hub.publish(message)
    assert messages([event, *until_quiet(stream), *until_quiet(stream)]) == [*stored, *late]


@pytest.mark.parametrize("patterns", [ONE, MANY])
def test_a_stream_resumes_exactly_where_it_was(
    relay: Relay, append: Append, patterns: tuple[TopicPattern, ...], clock: HandClock
) -> None:
    stored = append("t.a", 3)
    stream = relay.open(patterns)
    event = next(islice(stream, 1, 2))
    assert isinstance(event, Delivery)
    stream.close()
    later = append("t.a", 40)
    clock.advance(3600)
    again = until_quiet(relay.open(patterns, event.cursor))
    assert messages(again) == [stored[2], *later]
    assert len(again) == len(messages(again))


def test_a_reader_who_was_away_too_long_is_told_once(relay: Relay, append: Append, clock: HandClock) -> None:
    stored = append("t.a")
    clock.advance(2 * DAY)
    stream = relay.open(ONE, stored[0].message_id)
    assert until_quiet(stream) == [Gap("t.a", GapReason.TOO_OLD)]
    resumed = relay.open(ONE, cursor(stream))
    assert until_quiet(resumed) == []
    new = append("t.a")
    assert messages(until_quiet(relay.open(ONE, cursor(resumed)))) == new


@pytest.mark.parametrize("missed", [51, 100, 149, 1050])
def test_a_stream_resumes_exactly_where_more_was_missed_than_a_new_reader_gets(
    relay: Relay, append: Append, missed: int
) -> None:
    stored = append("t.a", missed + 1)
    read = until_quiet(relay.open(ONE, stored[0].message_id))
    assert [event for event in read if isinstance(event, Gap)] == []
    assert messages(read) == stored[1:]


def test_far_too_many_missed_messages_are_a_gap_before_the_newest(relay: Relay, append: Append) -> None:
    stored = append("t.a", 1052)
    read = until_quiet(relay.open(ONE, stored[0].message_id))
    assert messages(read) == [*stored[1:1001], *stored[-50:]]
    assert read[1000] == Gap("t.a", GapReason.TOO_OLD)


def test_what_was_missed_is_read_no_faster_than_the_reader_takes_it(
    hub: Hub, history: History, clock: HandClock, append: Append
) -> None:
    stored = append("t.a", 400)
    limits = StreamLimits(heartbeat_s=0.0, recycle_bytes=150 * stored[0].size_bytes)
    relay, position, read = Relay(hub, history, clock, limits), stored[0].message_id, list[Message]()
    for _ in range(3):
        events = until_quiet(relay.open(ONE, position))
        read += messages(events)
        position = read[-1].message_id
    assert read == stored[1:]


def test_an_id_that_no_topic_had_is_unknown(relay: Relay, append: Append, clock: HandClock) -> None:
    stored = append("t.a", 2)
    gap, *rest = until_quiet(relay.open(ONE, id_of(number_at(clock.now() + DAY))))
    assert gap == Gap("t.a", GapReason.UNKNOWN)
    assert messages(rest) == stored


def test_a_made_up_id_is_refused_before_anything_opens(relay: Relay, hub: Hub) -> None:
    with pytest.raises(InvalidRequest):
        relay.open(ONE, "yesterday")
    assert hub.presence("t.a") == 0


def test_topics_that_appear_later_are_part_of_a_pattern(relay: Relay, hub: Hub, append: Append) -> None:
    stream = relay.open(MANY)
    assert until_quiet(stream) == []
    appended = append("t.new", 3)
    hub.publish(appended[2])
    assert messages(until_quiet(stream)) == appended
    away = cursor(stream)
    others = append("t.other", 2)
    assert messages(until_quiet(relay.open(MANY, away))) == others


def test_topics_may_have_come_and_gone_while_a_reader_was_away(relay: Relay, clock: HandClock) -> None:
    away = cursor(relay.open(MANY))
    clock.advance(2 * DAY)
    stream = relay.open(MANY, away)
    assert until_quiet(stream) == [Gap("t.*", GapReason.TOO_OLD)]
    assert until_quiet(relay.open(MANY, cursor(stream))) == []


def test_topics_that_the_cursor_could_not_name_come_again_behind_a_gap(relay: Relay, append: Append) -> None:
    topics = [f"t.{number:02d}{'x' * 110}" for number in range(40)]
    stored = {topic: append(topic) for topic in topics}
    away = cursor(relay.open(MANY))
    assert away.endswith("+")
    events = until_quiet(relay.open(MANY, away))
    gaps = [event.topic for event in events if isinstance(event, Gap)]
    assert 0 < len(gaps) < len(topics)
    assert messages(events) == [message for topic in gaps for message in stored[topic]]
    assert {event.reason for event in events if isinstance(event, Gap)} == {GapReason.CURSOR_FULL}


def test_a_stream_is_recycled_after_so_many_bytes_or_seconds(
    hub: Hub, history: History, clock: HandClock, append: Append
) -> None:
    stored = append("t.a", 5)
    by_bytes = Relay(hub, history, clock, StreamLimits(recycle_bytes=2 * stored[0].size_bytes))
    events = list(by_bytes.open(ONE))
    assert messages(events) == stored[:2]
    assert events[-1] == End(EndReason.RECYCLED)
    again = list(by_bytes.open(ONE, stored[1].message_id))
    assert messages(again) == stored[2:4]
    by_time = Relay(hub, history, clock, StreamLimits(heartbeat_s=60.0, recycle_s=0.2))
    assert list(by_time.open(parse_patterns(["u"])))[-1] == End(EndReason.RECYCLED)
    assert hub.presence("t.a") == 0


def test_a_reader_who_leaves_frees_what_it_held(relay: Relay, hub: Hub) -> None:
    stream = relay.open(ONE)
    next(stream)
    assert hub.presence("t.a") == 1
    stream.close()
    assert hub.presence("t.a") == 0


def test_a_stream_ends_when_the_database_is_away_and_resumes_after(
    relay: Relay, hub: Hub, history: History, append: Append, mocker: MockerFixture
) -> None:
    first, lost, last = append("t.a", 3)
    stream = relay.open(ONE, first.message_id)
    mocker.patch.object(history, "since", side_effect=Unavailable("gone"))
    assert list(stream) == [End(EndReason.UNAVAILABLE)]
    assert hub.presence("t.a") == 0
    mocker.stopall()
    assert messages(until_quiet(relay.open(ONE, first.message_id))) == [lost, last]


def test_a_pattern_that_means_too_many_topics_is_refused_before_anything_opens(
    relay: Relay, hub: Hub, append: Append
) -> None:
    for number in range(101):
        append(f"t.{number}")
    with pytest.raises(InvalidRequest, match="more than 100 topics"):
        relay.open(MANY)
    assert hub.presence("t.0") == 0


def test_a_stream_over_a_pattern_has_only_the_topics_that_its_reader_may_see(
    relay: Relay, hub: Hub, append: Append
) -> None:
    seen, secret = append("t.a", 2), append("t.secret", 2)
    stream = relay.open(MANY, readable=lambda topic: topic != "t.secret")
    assert messages(until_quiet(stream)) == seen
    live = [*append("t.secret"), *append("t.a"), *append("t.secret")]
    for message in live:
        hub.publish(message)
    assert messages(until_quiet(stream)) == [live[1]]
    assert "secret" not in cursor(stream)
    assert secret


def test_what_is_ready_at_once_comes_in_one_batch(relay: Relay, hub: Hub, append: Append) -> None:
    stream = relay.open(ONE)
    batches = stream.batches()
    assert [type(event) for event in next(batches)] == [Heartbeat]
    live = append("t.a", 3)
    for message in live:
        hub.publish(message)
    assert [event.message for event in next(batches) if isinstance(event, Delivery)] == live


def test_a_hub_that_closes_ends_its_streams(relay: Relay, hub: Hub) -> None:
    stream = relay.open(ONE)
    next(stream)
    hub.close()
    assert list(stream) == [End(EndReason.SHUTDOWN)]


def test_every_replayed_message_follows_its_predecessor(relay: Relay, append: Append) -> None:
    append("t.a", 30)
    append("t.a", 15)
    read = messages(until_quiet(relay.open(ONE)))
    assert all(one.number == other.previous for one, other in pairwise(read))
