"""Brings what other instances publish to this one's streams, while it has any.

One thread pulls; it begins with the first stream and ends some time after the last, because Cloud Run stops the CPU
between requests and bills none then. Before the first stream reads its history the subscription stands, so that
nothing falls in between. While Pub/Sub is away the history is read instead, every few seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.logs import log
from agent_mesh.relay.messages import Message
from agent_mesh.relay.own_subscription import Gone, OwnSubscription, OwnSubscriptions

THREAD_NAME: Final = "relay-fan-in"
_FIRST_PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Pace:
    """How long things take, in seconds."""

    pull_s: float = 20.0
    """Longest wait for a message in one call."""
    linger_s: float = 60.0
    """How long the subscription is kept without a stream: readers come back."""
    longest_pause_s: float = 5.0
    """Between two tries while Pub/Sub is away."""


DEFAULT_PACE: Final = Pace()


class FanIn:
    """Pulls for the streams of one instance. Threads may join and leave at any time."""

    def __init__(
        self,
        subscriptions: OwnSubscriptions,
        deliver: Callable[[Message], object],
        catch_up: Callable[[], object],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        """`deliver` what is pulled; `catch_up` where something may have been missed, which may raise `Unavailable`."""
        self._subscriptions = subscriptions
        self._deliver = deliver
        self._catch_up = catch_up
        self._pace = pace
        self._lock = threading.Lock()
        self._streams = 0
        self._idle_since = 0.0
        self._subscription: OwnSubscription | None = None
        self._ready = threading.Event()
        self._stopped = threading.Event()

    def join(self) -> None:
        """A stream begins: return when nothing that others publish from now on is missed, or Pub/Sub is away."""
        with self._lock:
            self._streams += 1
            if self._subscription is None and not self._stopped.is_set():
                self._ready.clear()
                self._subscription = self._subscriptions.new()
                threading.Thread(target=self._run, args=[self._subscription], name=THREAD_NAME, daemon=True).start()
        self._ready.wait()

    def leave(self) -> None:
        """A stream has ended."""
        with self._lock:
            self._streams -= 1
            self._idle_since = time.monotonic()

    def stop(self) -> None:
        """The instance stops: pull no more, and remove the subscription."""
        with self._lock:
            self._stopped.set()
            running = self._subscription
        if running:
            _remove(running)
        self._ready.set()

    def _run(self, subscription: OwnSubscription) -> None:
        pause = _FIRST_PAUSE_SECONDS
        complete = self._tried(subscription.create)
        self._ready.set()
        while self._wanted():
            if not complete:
                created = self._tried(subscription.create)
                complete = self._tried(self._catch_up) and created
            if complete and self._tried(lambda: self._pull_once(subscription)):
                pause = _FIRST_PAUSE_SECONDS
                continue
            complete = False
            self._stopped.wait(pause)
            pause = min(2 * pause, self._pace.longest_pause_s)
        _remove(subscription)

    def _pull_once(self, subscription: OwnSubscription) -> None:
        pulled = subscription.pull(self._pace.pull_s)
        for message in pulled.messages:
            self._deliver(message)
        if pulled.ack_ids:
            subscription.acknowledge(pulled.ack_ids)

    @staticmethod
    def _tried(step: Callable[[], object]) -> bool:
        """Do one step; tell whether it went well. The thread goes on whatever happens: streams depend on it."""
        try:
            step()
        except Gone:
            return False
        except Unavailable as error:
            log("live messages of other instances are read from the history for the moment", reason=error.detail)
            return False
        except Exception as error:  # noqa: BLE001 - of a third party's call; the next round tries again
            log("defect while live messages were fetched", level=40, failed=True, kind=type(error).__name__)
            return False
        return True

    def _wanted(self) -> bool:
        """Tell whether to go on; if not, the next stream begins with another subscription."""
        with self._lock:
            idle = self._streams == 0 and time.monotonic() - self._idle_since > self._pace.linger_s
            if idle or self._stopped.is_set():
                self._subscription = None
                return False
            return True


def _remove(subscription: OwnSubscription) -> None:
    try:
        subscription.delete()
    except Unavailable:  # it expires by itself
        return
