"""Counts what Google bills: every Firestore and Pub/Sub call of a process, seen by interceptors on its gRPC channels.

The rules of counting are those of the price lists, https://cloud.google.com/firestore/pricing and
https://cloud.google.com/pubsub/pricing. A write is a write whatever it transforms, a document that is looked up and
missing is a read, a query reads at least one, a publish request has at least 1,000 bytes. What Firestore refuses (a
failed precondition) is counted apart and priced like a write, which the list does not say: an upper bound.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import grpc

_TIMESTAMP_AND_ID_BYTES: Final = 20 + 16
_LEAST_REQUEST_BYTES: Final = 1000
_Call = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Bill:
    """Billable operations. `reads` to `refused_writes` are documents; bytes are as Pub/Sub bills them."""

    reads: int = 0
    writes: int = 0
    deletes: int = 0
    refused_writes: int = 0
    publishes: int = 0
    messages: int = 0
    publish_bytes: int = 0
    deliveries: int = 0
    delivery_bytes: int = 0
    requests: int = 0

    def __add__(self, other: Bill) -> Bill:
        """Return the sum."""
        return Bill(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(Bill)})

    def __sub__(self, other: Bill) -> Bill:
        """Return the difference: what happened between two readings of a recorder."""
        return Bill(**{each.name: getattr(self, each.name) - getattr(other, each.name) for each in fields(Bill)})

    def as_json(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def delivered(size_bytes: int) -> Bill:
    """Return the bill of one push delivery. `size_bytes` is data and attributes of the message."""
    return Bill(deliveries=1, delivery_bytes=_request_bytes(size_bytes))


def message_bytes(data: bytes, attributes: dict[str, str]) -> int:
    """Return the size that Pub/Sub bills for a message: data, attributes, timestamp and id."""
    pairs = sum(len(name.encode()) + len(value.encode()) for name, value in attributes.items())
    return len(data) + pairs + _TIMESTAMP_AND_ID_BYTES


class Recorder(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Sees every call of the channels that it is put on; safe for threads."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._lock = threading.Lock()
        self.bill = Bill()
        self.waited_s = 0.0

    def channel(self, address: str) -> Any:  # noqa: ANN401  # grpc.Channel is untyped here
        """Return a channel to an emulator whose calls are counted."""
        return grpc.intercept_channel(grpc.insecure_channel(address), self)

    def add(self, bill: Bill) -> None:
        """Count something that no channel of this process sees."""
        with self._lock:
            self.bill += bill

    def since(self, earlier: Bill) -> Bill:
        """Return what was counted since a reading of `bill`."""
        with self._lock:
            return self.bill - earlier

    def intercept_unary_unary(self, continuation: _Call, details: Any, request: Any) -> Any:  # noqa: ANN401
        """Count one call and its answer."""
        started = time.perf_counter()
        call = continuation(details, request)
        succeeded = call.code() is grpc.StatusCode.OK
        self.waited_s += time.perf_counter() - started
        self.add(_billed(details.method.rpartition("/")[2], type(request).pb(request), succeeded=succeeded))
        return call

    def intercept_unary_stream(self, continuation: _Call, details: Any, request: Any) -> Any:  # noqa: ANN401
        """Count one query or look-up by what it streams back."""
        return _Counted(continuation(details, request), details.method.rpartition("/")[2], self)


class _Counted:
    """A stream that counts documents while they are read; everything else is the call's own."""

    def __init__(self, call: Any, method: str, recorder: Recorder) -> None:  # noqa: ANN401  # grpc calls are untyped
        self._call = call
        self._method = method
        self._recorder = recorder
        self._reads = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:  # noqa: ANN401
        started = time.perf_counter()
        try:
            answer = next(self._call)
        except StopIteration:
            # The price list: a query is charged one document read at least, also when it finds nothing.
            if not self._reads and self._method != "BatchGetDocuments":
                self._recorder.add(Bill(reads=1))
            raise
        finally:
            self._recorder.waited_s += time.perf_counter() - started
        if _is_read(type(answer).pb(answer)):
            self._reads += 1
            self._recorder.add(Bill(reads=1))
        return answer

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._call, name)


def _is_read(answer: Any) -> bool:  # noqa: ANN401  # protobuf messages
    """Whether one streamed answer brings a document, a look-up's result or up to 1,000 aggregated index entries."""
    return any(field.name in {"found", "missing", "document", "result"} for field, _ in answer.ListFields())


def _billed(method: str, request: Any, *, succeeded: bool) -> Bill:  # noqa: ANN401  # protobuf messages
    if method == "Commit":
        deletes = sum(write.WhichOneof("operation") == "delete" for write in request.writes)
        if not succeeded:
            return Bill(refused_writes=len(request.writes))
        return Bill(writes=len(request.writes) - deletes, deletes=deletes)
    if method == "Publish":
        size = sum(message_bytes(each.data, dict(each.attributes)) for each in request.messages)
        return Bill(publishes=1, messages=len(request.messages), publish_bytes=_request_bytes(size))
    message = f"the recorder does not know what a {method} costs"
    raise ValueError(message)


def _request_bytes(size: int) -> int:
    return max(_LEAST_REQUEST_BYTES, size)
