from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.delivery.backoff import Backoff
from emulator.delivery.dead_letter import dead_letter_attributes
from emulator.delivery.envelope import push_envelope
from emulator.delivery.messages import Lease, Message
from emulator.delivery.outstanding import Delivery, DeliveryPolicy, Outstanding

SUBSCRIPTION = "projects/p/subscriptions/s"


def message(name: str, key: str = "") -> Message:
    return Message(name, b"data", "2026-11-20T08:00:00Z", {"a": "b"}, key)


def outstanding(concurrency: int = 10, attempts: int | None = None, *, ordering: bool = False) -> Outstanding:
    return Outstanding(DeliveryPolicy(Backoff(1, 4), concurrency, attempts, ordering))


def names(ready: list[Delivery]) -> list[str]:
    return [delivery.message.message_id for delivery in ready]


def test_the_envelope_names_id_and_time_in_both_spellings() -> None:
    body = json.loads(push_envelope(message("7", "k"), SUBSCRIPTION, 3))
    assert body == {
        "message": {
            "attributes": {"a": "b"},
            "data": base64.b64encode(b"data").decode(),
            "messageId": "7",
            "message_id": "7",
            "publishTime": "2026-11-20T08:00:00Z",
            "publish_time": "2026-11-20T08:00:00Z",
            "orderingKey": "k",
        },
        "subscription": SUBSCRIPTION,
        "deliveryAttempt": 3,
    }


def test_the_envelope_leaves_out_what_is_empty() -> None:
    body = json.loads(push_envelope(Message("7", b"", "t"), SUBSCRIPTION, None))
    assert set(body) == {"message", "subscription"}
    assert set(body["message"]) == {"messageId", "message_id", "publishTime", "publish_time"}


def test_backoff_doubles_from_the_minimum_to_the_maximum() -> None:
    assert [Backoff(1, 5).delay(failures) for failures in range(5)] == [1, 1, 2, 4, 5]
    assert Backoff(0, 5).delay(10_000) == 0


@pytest.mark.parametrize(("minimum", "maximum"), [(-1, 1), (2, 1)])
def test_backoff_refuses_impossible_bounds(minimum: float, maximum: float) -> None:
    with pytest.raises(ValueError, match="minimum"):
        Backoff(minimum, maximum)


def test_a_dead_letter_says_where_it_died() -> None:
    assert dead_letter_attributes(message("1"), SUBSCRIPTION, 5) == {
        "a": "b",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "s",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "p",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-20T08:00:00Z",
    }


def test_at_most_the_concurrency_is_in_flight() -> None:
    held = outstanding(concurrency=2)
    for name in "abc":
        held.offer(Lease(f"ack-{name}", message(name)), 0)
    assert names(held.take_ready(0)) == ["a", "b"]
    assert held.next_due() is None
    assert held.acked("a", 1) == "ack-a"
    assert names(held.take_ready(1)) == ["c"]
    assert (held.in_flight, len(held)) == (2, 2)


def test_a_failed_message_waits_longer_each_time_and_counts_attempts() -> None:
    held = outstanding()
    held.offer(Lease("1", message("a")), 0)
    now, attempts = 0.0, []
    for _ in range(4):
        (delivery,) = held.take_ready(now)
        attempts.append((now, delivery.attempt))
        held.failed("a", now)
        now = held.next_due() or -1
        assert not held.take_ready(now - 0.01)
    assert attempts == [(0, 1), (1, 2), (3, 3), (7, 4)]


def test_after_the_last_attempt_a_message_is_dead_until_it_is_forwarded() -> None:
    held = outstanding(attempts=2)
    held.offer(Lease("1", message("a")), 0)
    for now in (0, 1):
        assert [one.dead for one in held.take_ready(now)] == [False]
        held.failed("a", now)
    assert [(one.dead, one.attempt) for one in held.take_ready(1)] == [(True, 2)]
    held.failed("a", 1)
    assert held.next_due() == 2
    assert [(one.dead, one.attempt) for one in held.take_ready(2)] == [(True, 2)]
    assert held.acked("a", 2) == "1"
    assert len(held) == 0


def test_the_next_message_of_a_key_waits_for_the_one_before() -> None:
    held = outstanding(ordering=True)
    for name, key in (("a", "k"), ("b", "k"), ("c", "other"), ("d", "")):
        held.offer(Lease(name, message(name, key)), 0)
    assert names(held.take_ready(0)) == ["a", "c", "d"]
    held.failed("a", 0)
    assert names(held.take_ready(0.5)) == []
    assert names(held.take_ready(1)) == ["a"]
    held.acked("a", 1)
    assert names(held.take_ready(1)) == ["b"]
    held.acked("b", 1)
    held.offer(Lease("e", message("e", "k")), 2)
    assert names(held.take_ready(2)) == ["e"]


def test_a_message_that_is_leased_again_only_changes_its_ack_id() -> None:
    held = outstanding()
    held.offer(Lease("old", message("a")), 0)
    held.take_ready(0)
    held.offer(Lease("new", message("a")), 1)
    assert held.take_ready(1) == []
    assert held.ack_ids() == ["new"]
    assert held.acked("a", 1) == "new"


@given(st.lists(st.tuples(st.sampled_from(["", "k", "l"]), st.integers(0, 3)), max_size=12), st.integers(1, 4))
def test_everything_is_delivered_in_key_order_whatever_fails(script: list[tuple[str, int]], slots: int) -> None:
    held = outstanding(concurrency=slots, ordering=True)
    refusals = {}
    for number, (key, failures) in enumerate(script):
        held.offer(Lease(str(number), message(str(number), key)), 0)
        refusals[str(number)] = failures
    now, done = 0.0, list[str]()
    while len(held):
        ready = held.take_ready(now)
        assert held.in_flight <= slots
        for name in names(ready):
            if refusals[name]:
                refusals[name] -= 1
                held.failed(name, now)
            else:
                held.acked(name, now)
                done.append(name)
        if not ready:
            now = held.next_due() or now
    for key in ("k", "l"):
        mine = [name for name in done if script[int(name)][0] == key]
        assert mine == sorted(mine, key=int)
    assert sorted(done, key=int) == [str(number) for number in range(len(script))]
