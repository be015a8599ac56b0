"""Callers: dispatch a task, wait for its end, note how long it took; one after the other or many at once.

The end is the same moment for both variants. Over HTTP it is the answer to `POST /dispatch`. Over Pub/Sub it is the
event that the last function publishes after the task's terminal state is committed: its `publish_time`, which the
emulator takes from the clock that the caller reads too. A tap, a pull subscription that one thread empties, brings it;
how often that thread looks delays the next dispatch, never the measured time. Polling Firestore for the state instead
would load the machine the more the slower a variant is.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import quantiles
from typing import Final, Literal, Self

import grpc
import urllib3
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PullRequest, PullResponse

from benchmarks.mesh import Variant
from emulator.stack import LocalStack

Mode = Literal["pubsub", "http"]
_PATIENCE_S: Final = 30.0
_TAP_PAUSE_S: Final = 0.002
_HALF_TICK_S: Final = 0.0005
"""The emulator's `publish_time` has whole milliseconds, rounded down."""

_ENDED: Final = "mesh.task.succeeded"
_PAYLOAD: Final = {"n": 1, "text": "The quick brown fox jumps over the lazy dog."}


@dataclass(frozen=True)
class Block:
    """What one block of round trips took: milliseconds each, and tasks a second altogether."""

    latencies_ms: tuple[float, ...]
    per_second: float

    @property
    def p50(self) -> float:
        """Median round trip in milliseconds."""
        return quantiles(self.latencies_ms, n=100)[49]

    @property
    def p95(self) -> float:
        """95th percentile in milliseconds."""
        return quantiles(self.latencies_ms, n=100)[94]


class Tap:
    """Hears the events topic of one variant and wakes who waits for a task's end."""

    def __init__(self, stack: LocalStack, variant: Variant) -> None:
        """Subscribe at once."""
        self._channel = grpc.insecure_channel(stack.pubsub)
        self._client = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))
        self._path = f"projects/{stack.project}/subscriptions/bench-{variant.events_topic}"
        topic = f"projects/{stack.project}/topics/{variant.events_topic}"
        self._client.create_subscription(name=self._path, topic=topic)
        self._ended: dict[str, float] = {}
        self._waiting = 0
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._listen, name=f"tap-{variant.name}", daemon=True)
        self._thread.start()

    def ended_at(self, task_id: str) -> float:
        """Return when the task's end was published, in Unix seconds; wait until it is heard."""
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            heard = self._changed.wait_for(lambda: task_id in self._ended, timeout=_PATIENCE_S)
            self._waiting -= 1
            assert heard, f"{task_id} did not end in {_PATIENCE_S:.0f} s"
            return self._ended.pop(task_id)

    def close(self) -> None:
        """Stop listening."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._thread.join()
        self._channel.close()

    def _listen(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._open)
                if not self._open:
                    return
            if not self._pull():
                time.sleep(_TAP_PAUSE_S)

    def _pull(self) -> int:
        request = PullRequest(subscription=self._path, max_messages=500, return_immediately=True)
        received = PullResponse.pb(self._client.pull(request)).received_messages
        ended = {
            each.message.attributes["subject"]: each.message.publish_time.ToNanoseconds() / 1e9 + _HALF_TICK_S
            for each in received
            if each.message.attributes["type"] == _ENDED
        }
        if received:
            self._client.acknowledge(subscription=self._path, ack_ids=[each.ack_id for each in received])
        with self._changed:
            self._ended |= ended
            self._changed.notify_all()
        return len(received)


class Callers:
    """Dispatches to one variant."""

    def __init__(self, stack: LocalStack, variant: Variant) -> None:
        """Keep connections and one token."""
        self.variant = variant
        self._url = stack.url(variant.role) + "/dispatch"
        self._headers = {
            "Authorization": f"Bearer {stack.token(stack.url(variant.role))}",
            "Content-Type": "application/json",
        }
        # gunicorn closes a connection after 2 s of silence, sometimes while the next request is on its way.
        self._pool = urllib3.PoolManager(maxsize=64, retries=urllib3.Retry(3, allowed_methods=None))
        self.tap = Tap(stack, variant)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop listening."""
        self.tap.close()
        self._pool.clear()

    def one_by_one(self, mode: Mode, tasks: int) -> Block:
        """Run tasks, each after the end of the one before."""
        return self._timed(lambda: [self.round_trip(mode) for _ in range(tasks)])

    def at_once(self, mode: Mode, tasks: int, callers: int) -> Block:
        """Run tasks from `callers` threads, each waiting for its own to end."""
        with ThreadPoolExecutor(callers) as pool:
            return self._timed(lambda: list(pool.map(self.round_trip, [mode] * tasks)))

    def round_trip(self, mode: Mode) -> float:
        """Return the milliseconds from the dispatch to the end of one task."""
        started = time.time()
        task = self.dispatch(mode)
        ended = time.time() if mode == "http" else self.tap.ended_at(task)
        return (ended - started) * 1000

    def dispatch(self, mode: Mode) -> str:
        """Dispatch one task and return its id."""
        request = {
            "agent": self.variant.agent,
            "payload": _PAYLOAD,
            "ttl": time.time() + 600,
            "budgetCents": 10,
            "mode": mode,
        }
        response = self._pool.request("POST", self._url, body=json.dumps(request).encode(), headers=self._headers)
        assert response.status in {200, 202}, (response.status, response.data)
        task_id: str = json.loads(response.data)["taskId"]
        return task_id

    @staticmethod
    def _timed(work: Callable[[], list[float]]) -> Block:
        started = time.perf_counter()
        latencies = work()
        return Block(tuple(latencies), len(latencies) / (time.perf_counter() - started))
