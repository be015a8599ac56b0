"""The unary Pull: answers at once with what is there, or with the next message when it arrives."""

from __future__ import annotations

import asyncio
from typing import Final

from emulator.pubsub.backlog import Appetite, Entry
from emulator.pubsub.protos import Proto, PullResponse
from emulator.pubsub.subscriptions import Subscription
from emulator.refusals import Refusal, invalid
from emulator.usage.attribution import current_trace

MOST_MESSAGES: Final = 1000
MOST_BYTES: Final = 10_000_000
LONGEST_WAIT: Final = 90.0
_SHARE_OF_DEADLINE: Final = 0.8


class WaitingPull:
    """A pull that found nothing; the first message to arrive answers it."""

    def __init__(self, subscription: Subscription, most: int) -> None:
        """It waits as soon as it is among the subscription's consumers."""
        self.answer: asyncio.Future[list[Entry]] = asyncio.get_running_loop().create_future()
        self._subscription = subscription
        self._most = most

    def serve(self) -> bool:
        """Take messages, once."""
        if self.answer.done():
            return False
        taken = take(self._subscription, self._most, self)
        if taken:
            self.answer.set_result(taken)
            self._subscription.consumers.pop(self, None)
        return bool(taken)

    def released(self, _entry: Entry) -> None:
        """It holds nothing."""

    def end(self, refusal: Refusal) -> None:
        """Fail the call."""
        if not self.answer.done():
            self.answer.set_exception(refusal)


def take(subscription: Subscription, most: int, holder: object) -> list[Entry]:
    """Lease what one answer may hold."""
    deadline = subscription.around.clock.now() + subscription.config.ack_deadline_seconds
    return subscription.take(Appetite(min(most, MOST_MESSAGES), MOST_BYTES, deadline), holder)


async def pull(subscription: Subscription, request: Proto, seconds_left: float | None) -> Proto:
    """Answer a PullRequest. An empty answer comes after a bounded wait."""
    if request.max_messages <= 0:
        raise invalid("No max_messages specified" if not request.max_messages else "max_messages must be positive")
    subscription.check_open()
    most = request.max_messages
    taken = take(subscription, most, object())
    if taken or request.return_immediately:
        return _answer(subscription, taken)
    waiting = WaitingPull(subscription, most)
    subscription.consumers[waiting] = None
    try:
        taken = await _within(waiting, _patience(seconds_left))
    except asyncio.CancelledError:
        _give_back(subscription, waiting)
        raise
    finally:
        subscription.consumers.pop(waiting, None)
    return _answer(subscription, taken)


def _answer(subscription: Subscription, taken: list[Entry]) -> Proto:
    messages = [entry.message for entry in taken]
    subscription.around.usage.delivered("Pull", subscription.name, messages, current_trace.get())
    return PullResponse(received_messages=subscription.received(taken)) if taken else PullResponse()


async def _within(waiting: WaitingPull, seconds: float) -> list[Entry]:
    done, _ = await asyncio.wait([waiting.answer], timeout=seconds)
    return waiting.answer.result() if done else []


def _give_back(subscription: Subscription, waiting: WaitingPull) -> None:
    if waiting.answer.done() and not waiting.answer.cancelled() and waiting.answer.exception() is None:
        for entry in waiting.answer.result():
            subscription.give_back(entry)
        subscription.wake()


def _patience(seconds_left: float | None) -> float:
    """An empty answer in time is kinder than DEADLINE_EXCEEDED."""
    return LONGEST_WAIT if seconds_left is None else min(seconds_left * _SHARE_OF_DEADLINE, LONGEST_WAIT)
