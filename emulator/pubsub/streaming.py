"""StreamingPull: messages as they come, within the client's flow control, and acks on the same stream.

Source: https://cloud.google.com/pubsub/docs/pull#streamingpull_api. A client that disconnects keeps
its messages until their deadlines pass, as in production: an ack by another call is still good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from emulator.pubsub.backlog import Appetite, Entry
from emulator.pubsub.broker import Broker
from emulator.pubsub.protos import Proto, StreamingPullRequest, StreamingPullResponse
from emulator.pubsub.service_subscriber import check_deadline
from emulator.pubsub.subscription_rules import DEFAULT_DEADLINE, MOST_DEADLINE
from emulator.pubsub.subscriptions import AckOutcome, Subscription
from emulator.refusals import Refusal, invalid
from emulator.usage.attribution import current_trace

_BATCH_MESSAGES: Final = 100
_BATCH_BYTES: Final = 1_000_000
_MOST_UNSENT: Final = 200
_NO_LIMIT: Final = 1 << 62
_ONLY_FIRST: Final = ("subscription", "client_id", "max_outstanding_messages", "max_outstanding_bytes")

EndOfStream: Final = object()


class Stream:
    """One open stream: what it holds and what is to be sent."""

    def __init__(self, subscription: Subscription, first: Proto) -> None:
        """``first`` is the initial request."""
        self.subscription = subscription
        self.deadline = first.stream_ack_deadline_seconds
        self.refusal: Refusal | None = None
        self._trace = current_trace.get()  # of this call: it is served in the context of whoever publishes
        self._most_messages = first.max_outstanding_messages if first.max_outstanding_messages > 0 else _NO_LIMIT
        self._most_bytes = first.max_outstanding_bytes if first.max_outstanding_bytes > 0 else _NO_LIMIT
        self._messages = 0
        self._bytes = 0
        self._unsent: list[Proto] = []
        self._news = asyncio.Event()
        self._finishing = False

    def serve(self) -> bool:
        """Take a batch, unless the client has enough or reads too slowly."""
        room = min(self._most_messages - self._messages, _BATCH_MESSAGES)
        space = min(self._most_bytes - self._bytes, _BATCH_BYTES)
        if room <= 0 or space <= 0 or len(self._unsent) >= _MOST_UNSENT or self.refusal or self._finishing:
            return False
        deadline = self.subscription.around.clock.now() + self.deadline
        taken = self.subscription.take(Appetite(room, space, deadline), self)
        if not taken:
            return False
        self._messages += len(taken)
        self._bytes += sum(entry.message.size for entry in taken)
        messages = [entry.message for entry in taken]
        self.subscription.around.usage.delivered("StreamingPull", self.subscription.name, messages, self._trace)
        self.send(StreamingPullResponse(received_messages=self.subscription.received(taken)))
        return True

    def released(self, entry: Entry) -> None:
        """Room for another message."""
        self._messages -= 1
        self._bytes -= entry.message.size

    def end(self, refusal: Refusal) -> None:
        """Close with this status."""
        self.refusal = refusal
        self._news.set()

    def finish(self) -> None:
        """Send what is queued and end well: the client has said all it wanted to say."""
        self._finishing = True
        self._news.set()

    def send(self, response: Proto) -> None:
        """Queue a response."""
        subscription = self.subscription
        response.subscription_properties.exactly_once_delivery_enabled = subscription.exactly_once
        response.subscription_properties.message_ordering_enabled = subscription.config.enable_message_ordering
        self._unsent.append(response)
        self._news.set()

    async def write_to(self, write: Callable[[bytes], Any]) -> None:
        """Send what is queued until the stream ends; raises Refusal where it ends with one."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._unsent:
                unsent, self._unsent = self._unsent, []
                for response in unsent:
                    await write(response.SerializeToString())
                self.subscription.wake()
            if self.refusal is not None:
                raise self.refusal
            if self._finishing:
                return

    def obey(self, request: Proto) -> None:
        """Follow a later request: acks, deadlines, another stream deadline."""
        for name in _ONLY_FIRST:
            if getattr(request, name):
                raise invalid(f"{name} can only be set in the initial StreamingPullRequest")
        if request.stream_ack_deadline_seconds:
            _check_stream_deadline(request.stream_ack_deadline_seconds)
            self.deadline = request.stream_ack_deadline_seconds
        self.settle(request)

    def settle(self, request: Proto) -> None:
        """Follow the acks and deadlines of any request."""
        ids, lengths = request.modify_deadline_ack_ids, request.modify_deadline_seconds
        if len(ids) != len(lengths):
            raise invalid("modify_deadline_seconds and modify_deadline_ack_ids must have the same length")
        for length in lengths:
            check_deadline(length)
        if ids:
            self._modify(list(ids), list(lengths))
        if request.ack_ids:
            outcome = self.subscription.acknowledge(request.ack_ids)
            self._confirm("acknowledge_confirmation", outcome)

    def _modify(self, ids: list[str], lengths: list[int]) -> None:
        total = AckOutcome([], [])
        for ack_id, length in zip(ids, lengths, strict=True):
            outcome = self.subscription.modify([ack_id], length)
            total.done.extend(outcome.done)
            total.invalid.extend(outcome.invalid)
        self._confirm("modify_ack_deadline_confirmation", total)

    def _confirm(self, field: str, outcome: AckOutcome) -> None:
        if self.subscription.exactly_once:
            response = StreamingPullResponse()
            getattr(response, field).ack_ids.extend(outcome.done)
            getattr(response, field).invalid_ack_ids.extend(outcome.invalid)
            self.send(response)


async def serve_stream(broker: Broker, receive: Callable[[], Any], write: Callable[[bytes], Any]) -> None:
    """One StreamingPull call. ``receive`` returns bytes, or EndOfStream when the client is done sending."""
    data = await receive()
    if data is EndOfStream:
        return
    first = StreamingPullRequest.FromString(data)
    if not first.subscription:
        raise invalid("The subscription must be set in the initial StreamingPullRequest")
    subscription = broker.subscription(first.subscription)
    subscription.check_open()
    _check_stream_deadline(first.stream_ack_deadline_seconds)
    stream = Stream(subscription, first)
    subscription.consumers[stream] = None
    try:
        stream.settle(first)
        stream.send(StreamingPullResponse())
        subscription.wake()
        await _both(stream, receive, write)
    finally:
        subscription.consumers.pop(stream, None)


def _check_stream_deadline(seconds: int) -> None:
    if not DEFAULT_DEADLINE <= seconds <= MOST_DEADLINE:
        raise invalid("stream_ack_deadline_seconds out of bounds: between 10 and 600 seconds are allowed")


async def _both(stream: Stream, receive: Callable[[], Any], write: Callable[[bytes], Any]) -> None:
    reading = asyncio.ensure_future(_read(stream, receive))
    writing = asyncio.ensure_future(stream.write_to(write))
    try:
        done, _ = await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
        if writing not in done:  # cut short in the middle of a message, the call would never end for its client
            stream.finish()
            await writing
    finally:
        for one in (reading, writing):
            one.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)


async def _read(stream: Stream, receive: Callable[[], Any]) -> None:
    while (data := await receive()) is not EndOfStream:
        stream.obey(StreamingPullRequest.FromString(data))
