"""A client that says exactly what a test wants said: raw messages to any Firestore, answers or status codes back."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Sequence
from typing import Any

import grpc

from emulator.firestore import protocol

_STREAMED = {"BatchGetDocuments", "RunQuery", "RunAggregationQuery"}
_EMPTY = {"DeleteDocument", "Rollback"}
_DOCUMENT = {"GetDocument", "CreateDocument", "UpdateDocument"}


class Refused(Exception):
    """The server answered with an error status."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class RawFirestore:
    """One database of one server."""

    def __init__(self, address: str, project: str, options: Sequence[tuple[str, int]] = ()) -> None:
        self.channel = grpc.insecure_channel(address, options=options)
        self.database = f"projects/{project}/databases/(default)"
        self.root = f"{self.database}/documents"
        self.metadata = [("authorization", "Bearer owner")]

    def close(self) -> None:
        self.channel.close()

    def name(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def call(self, method: str, request: Any, seconds: float = 20.0) -> Any:
        """The answer, or the list of answers of a streaming read. Raises Refused."""
        made: Any = self.channel.unary_stream if method in _STREAMED else self.channel.unary_unary
        call = made(
            f"/google.firestore.v1.Firestore/{method}",
            request_serializer=_wire,
            response_deserializer=_answer_of(method).FromString,
        )
        try:
            answer = call(request, timeout=seconds, metadata=self.metadata)
            return list(answer) if method in _STREAMED else answer
        except grpc.RpcError as error:
            raise Refused(error.code().name, error.details() or "") from None

    def converse(self, method: str) -> Conversation:
        """Open a stream both ways."""
        return Conversation(self, method)

    def commit(self, *writes: Any, transaction: bytes = b"") -> Any:
        request = protocol.CommitRequest(database=self.database, writes=writes, transaction=transaction)
        return self.call("Commit", request)

    def get(self, path: str, **fields: Any) -> Any:
        return self.call("GetDocument", protocol.GetDocumentRequest(name=self.name(path), **fields))

    def begin(self, options: Any = None) -> bytes:
        request = protocol.BeginTransactionRequest(database=self.database, options=options)
        return bytes(self.call("BeginTransaction", request).transaction)

    def update(self, path: str, fields: dict[str, Any] | None = None, mask: Iterable[str] | None = None) -> Any:
        """A write that sets these fields, all of the document or those of a mask."""
        document = protocol.Document(name=self.name(path), fields=fields or {})
        write = protocol.Write(update=document)
        if mask is not None:
            write.update_mask.SetInParent()
            write.update_mask.field_paths.extend(mask)
        return write

    def delete(self, path: str) -> Any:
        return protocol.Write(delete=self.name(path))

    def query(self, query: Any, parent: str = "", **fields: Any) -> list[Any]:
        request = protocol.RunQueryRequest(parent=self.name(parent), structured_query=query, **fields)
        return [each.document for each in self.call("RunQuery", request) if each.HasField("document")]


class Conversation:
    """A stream both ways that stays open until it is closed."""

    def __init__(self, firestore: RawFirestore, method: str) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        metadata = (*firestore.metadata, ("google-cloud-resource-prefix", firestore.database))
        self._call = firestore.channel.stream_stream(
            f"/google.firestore.v1.Firestore/{method}",
            request_serializer=lambda each: each.SerializeToString(),
            response_deserializer=getattr(protocol, f"{method}Response").FromString,
        )(iter(self._requests.get, None), timeout=20.0, metadata=metadata)

    def send(self, request: Any) -> None:
        self._requests.put(request)

    def receive(self) -> Any:
        """The next answer. Raises Refused."""
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise Refused(error.code().name, error.details() or "") from None

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()


def _wire(request: Any) -> bytes:
    return bytes(request if isinstance(request, bytes) else request.SerializeToString())


def _answer_of(method: str) -> Any:
    if method in _EMPTY:
        return protocol.Empty
    return protocol.Document if method in _DOCUMENT else getattr(protocol, f"{method}Response")


def value(plain: Any) -> Any:
    """A Value of a plain Python value; a Value stays what it is."""
    if isinstance(plain, protocol.Value):
        return plain
    if plain is None:
        return protocol.Value(null_value=0)
    if isinstance(plain, list):
        return protocol.Value(array_value=protocol.ArrayValue(values=[value(each) for each in plain]))
    if isinstance(plain, dict):
        return protocol.Value(map_value=protocol.MapValue(fields={name: value(each) for name, each in plain.items()}))
    kinds = {bool: "boolean_value", int: "integer_value", float: "double_value", str: "string_value"}
    return protocol.Value(**{kinds.get(type(plain), "bytes_value"): plain})


def fields(**plain: Any) -> dict[str, Any]:
    """Fields of plain Python values."""
    return {name: value(each) for name, each in plain.items()}


def timestamp(seconds: int, nanos: int = 0) -> Any:
    return protocol.Value(timestamp_value=protocol.Timestamp(seconds=seconds, nanos=nanos))


def vector(*numbers: float) -> Any:
    return value({"__type__": "__vector__", "value": list(numbers)})
