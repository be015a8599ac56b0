"""Messages as they are published, for readers that each have a subscription of their own.

So the other subscriptions of the topic notice nothing. A reader's subscription is deleted when the reader goes away;
what a killed console left behind is deleted by the next one.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import grpc

from emulator.console.answers import Problem, refused
from emulator.console.message_events import HEARTBEAT, message_event, problem_event
from emulator.console.pubsub_calls import OWN_PREFIX, PubSubCalls
from emulator.console.topics import short_name
from emulator.events import log_event

MOST_READERS: Final = 16
MOST_WAITING: Final = 500
MOST_WAITING_BYTES: Final = 8 * 1024 * 1024
_LOOK_SECONDS: Final = 0.5
_HEARTBEAT_SECONDS: Final = 15.0


class LiveMessages:
    """All readers of one Pub/Sub, until :meth:`close`."""

    def __init__(self, calls: PubSubCalls) -> None:
        """Delete the subscriptions of a console that could not."""
        self._calls = calls
        self._room = threading.Semaphore(MOST_READERS)
        self._lock = threading.Lock()
        self._feeds: set[Feed] = set()
        self._closed = False
        for each in calls.subscriptions():
            if short_name(each.name).startswith(OWN_PREFIX):
                calls.unsubscribe(each.name)

    def follow(self, topic: str) -> Feed:
        """A reader of a topic, given by short or full name. Raises Problem, or ``grpc.RpcError`` from Pub/Sub."""
        if not self._room.acquire(blocking=False):
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_READERS} readers follow topics already: close one")
        try:
            feed = Feed(self._calls, topic, self._ended)
        except BaseException:
            self._room.release()
            raise
        with self._lock:
            self._feeds.add(feed)
            closed = self._closed
        if closed:
            feed.close()
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the console stops")
        return feed

    def close(self) -> None:
        """End all readers and delete their subscriptions."""
        with self._lock:
            self._closed = True
            feeds = list(self._feeds)
        for feed in feeds:
            feed.close()

    def _ended(self, feed: Feed) -> None:
        with self._lock:
            self._feeds.discard(feed)
        self._room.release()


class Feed:
    """The events of one reader, in pieces; a reader that takes them too slowly is let go."""

    def __init__(self, calls: PubSubCalls, topic: str, ended: Callable[[Feed], None]) -> None:
        """Subscribe. Raises ``grpc.RpcError`` when Pub/Sub refuses, as it does for an unknown topic."""
        self._calls = calls
        self._ended = ended
        self._news = threading.Condition()
        self._events: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._over = False
        self._closed = False
        self._last_sent = time.monotonic()
        self._subscription = calls.subscribe(topic, secrets.token_hex(8))
        self._pulled = calls.stream(self._subscription)
        threading.Thread(target=self._pull, name="console-feed", daemon=True).start()

    def __next__(self) -> bytes:
        """All that waits; nothing, or a heartbeat, when there is no news for a moment."""
        with self._news:
            if not self._events and not self._over:
                self._news.wait(_LOOK_SECONDS)
            piece = b"".join(self._events)
            self._events.clear()
            self._waiting_bytes = 0
            if not piece and self._over:
                raise StopIteration
        now = time.monotonic()
        if not piece and now - self._last_sent >= _HEARTBEAT_SECONDS:
            piece = HEARTBEAT
        if piece:
            self._last_sent = now
        return piece

    def close(self) -> None:
        """Stop pulling and delete the subscription; twice does nothing."""
        with self._news:
            if self._closed:
                return
            self._closed = self._over = True
            self._news.notify()
        self._pulled.close()
        try:
            self._calls.unsubscribe(self._subscription)
        except grpc.RpcError as error:
            log_event("console.subscription_left", subscription=self._subscription, error=str(refused(error)))
        self._ended(self)

    def _pull(self) -> None:
        try:
            for message in self._pulled:
                self._offer(message_event(message))
        except grpc.RpcError as error:
            self._finish(problem_event(str(refused(error))))
        finally:
            self.close()

    def _offer(self, event: bytes) -> None:
        with self._news:
            if self._over:
                return
            self._events.append(event)
            self._waiting_bytes += len(event)
            slow = len(self._events) > MOST_WAITING or self._waiting_bytes > MOST_WAITING_BYTES
            self._news.notify()
        if slow:
            self._finish(problem_event(f"more than {MOST_WAITING} messages or 8 MiB waited to be read: follow again"))
            self.close()

    def _finish(self, last: bytes) -> None:
        with self._news:
            if not self._over:
                self._events.append(last)
                self._over = True
                self._news.notify()
