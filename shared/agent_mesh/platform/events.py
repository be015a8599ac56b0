"""The mesh's events, gathered while a call is served and published together when it ends: one publish a call."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from pydantic import JsonValue

from agent_mesh.contracts.events import CloudEvent
from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.clock import Clock, moment, rfc3339
from agent_mesh.platform.ids import derived_id
from agent_mesh.platform.logs import current_trace, log
from agent_mesh.platform.pubsub import Message, Publisher

_LOGGED: Final = ("agent", "status", "code", "costCents", "attempt", "percent")
"""Of an event's data only what counters need: no person, no content."""

_gathered: ContextVar[tuple[CloudEvent, ...]] = ContextVar("gathered", default=())


class EventLog:
    """Gathers events of one call in this context; `flush` publishes them."""

    def __init__(self, publisher: Publisher, topic: str, source: str, clock: Clock) -> None:
        """Publish on `topic` (full path) as `source` (the role's name)."""
        self._publisher = publisher
        self._topic = topic
        self._source = f"/{source}"
        self._clock = clock

    def emit(self, kind: str, subject: str, data: Mapping[str, JsonValue], *, once: str = "") -> None:
        """Gather one event.

        Its id derives from kind, subject and `once`, so that the same happening, seen again after a crash, is the same
        event.
        """
        trace = current_trace.get()
        event = CloudEvent(
            id=derived_id("ev", kind, subject, once),
            source=self._source,
            type=kind,
            subject=subject,
            time=rfc3339(moment(self._clock.now())),
            traceparent=trace.traceparent if trace else "",
            data=dict(data),
        )
        _gathered.set((*_gathered.get(), event))

    @staticmethod
    def begin() -> None:
        """Forget what an earlier call of this thread gathered and could not publish."""
        _gathered.set(())

    def flush(self) -> None:
        """Publish what was gathered, and log it: counters over the log tell how many tasks ended how.

        A failure to publish is logged too: the state is in Firestore, an event only tells of it.
        """
        events = _gathered.get()
        try:
            self.publish_or_fail()
        except Unavailable as error:
            log("events were not published", reason=error.detail, types=[event.type for event in events])

    def publish_or_fail(self) -> None:
        """Publish what was gathered, for a call that may not succeed without it: its events are all there is of it.

        Raises:
            Unavailable: Pub/Sub did not take them. They are forgotten; whoever repeats the call gathers them again.
        """
        events = _gathered.get()
        if not events:
            return
        _gathered.set(())
        for event in events:
            counted: dict[str, Any] = {name: event.data[name] for name in _LOGGED if name in event.data}
            log(event.type, type=event.type, subject=event.subject, **counted)
        messages = [
            Message(
                event.model_dump_json().encode(),
                {"type": event.type, "subject": event.subject, "traceparent": event.traceparent},
            )
            for event in events
        ]
        self._publisher.publish(self._topic, messages)
