"""Listen: one stream that carries many targets, each told what changes, until the client goes away.

Commits are not queued: a stream remembers which paths were written since it last answered, and tells what they are now.
A slow listener thus costs no memory, and sees fewer, larger steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Final

from emulator.firestore.documents import Commit
from emulator.firestore.engine import Engine
from emulator.firestore.names import parse_database, parse_parent
from emulator.firestore.protocol import ListenRequest, ListenResponse, Message, Status, TargetChange
from emulator.firestore.query import parse_query
from emulator.firestore.requests import parse
from emulator.firestore.targets import NamedDocuments, QueriedDocuments, Source, Target
from emulator.firestore.values import micros, timestamp_of
from emulator.refusals import Refusal, invalid

_TIME_BYTES: Final = 8
_NEVER: Final = -1


class Listener:
    """One Listen stream."""

    def __init__(self, engine: Engine) -> None:
        """Nothing is listened to yet."""
        self._engine = engine
        self._database = ""
        self._targets: dict[int, Target] = {}
        self._requests: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=100)
        self._written: set[str] = set()
        self._news = asyncio.Event()

    async def run(self, requests: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Answer requests and commits until the client has closed its side, or is gone."""
        reader = asyncio.create_task(self._read(requests))
        self._engine.documents.observers.append(self._observe)
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                for answer in self._changes():
                    yield answer
                while not self._requests.empty():
                    request = self._requests.get_nowait()
                    if request is None:
                        return
                    for answer in self._take(parse(ListenRequest, request)):
                        yield answer
        finally:
            self._engine.documents.observers.remove(self._observe)
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

    async def _read(self, requests: AsyncIterator[bytes]) -> None:
        async for request in requests:
            await self._requests.put(request)
            self._news.set()
        await self._requests.put(None)
        self._news.set()

    def _observe(self, commit: Commit) -> None:
        if commit.database == self._database and self._targets:
            self._written.update(change.path for change in commit.changes)
            self._news.set()

    def _changes(self) -> list[bytes]:
        if not self._written:
            return []
        read_time, written = self._engine.documents.read_time(), self._written
        self._written = set()
        told = [target.next(written, read_time) for target in self._targets.values()]
        self._engine.usage.read("Listen", sum(each.reads for each in told))
        answers = [answer for each in told for answer in each.answers]
        return [*answers, self._snapshot(read_time)] if answers else []

    def _take(self, request: Message) -> list[bytes]:
        database = parse_database(request.database or self._database)
        if self._database and database != self._database:
            raise invalid("A stream listens to one database.")
        self._database = database
        which = request.WhichOneof("target_change")
        if which == "add_target":
            return self._add(request.add_target)
        if which == "remove_target":
            self._targets.pop(request.remove_target, None)
            return [_change(TargetChange.REMOVE, request.remove_target)]
        raise invalid("A listen request must add or remove a target.")

    def _add(self, message: Message) -> list[bytes]:
        number = message.target_id or max(self._targets, default=0) + 1
        if number in self._targets:
            raise invalid(f"Target id already in use: {number}")
        if number < 0:
            raise invalid(f"Target id must be positive: {number}")
        try:
            target = Target(number, self._engine.documents.database(self._database), self._source(message))
        except Refusal as refusal:
            return [_change(TargetChange.REMOVE, number, cause=refusal)]
        read_time = self._engine.documents.read_time()
        answers = [_change(TargetChange.ADD, number)]
        since = self._since(message)
        resumed = since is not None and self._resume(target, since)
        if since is not None and not resumed:
            answers.append(_change(TargetChange.RESET, number))
        told = target.first(read_time, resumed=resumed)
        self._engine.usage.read("Listen", told.reads)
        answers += [*told.answers, self._moment(TargetChange.CURRENT, read_time, number), self._snapshot(read_time)]
        if message.once:
            answers.append(_change(TargetChange.REMOVE, number))
        else:
            self._targets[number] = target
        return answers

    def _source(self, message: Message) -> Source:
        database = self._engine.documents.database(self._database)
        which = message.WhichOneof("target_type")
        if which == "documents":
            return NamedDocuments(database, message.documents.documents)
        if which != "query":
            raise invalid("A target must be a query or documents.")
        parent = parse_parent(message.query.parent)
        if parent.database != self._database:
            raise invalid(f'The parent "{parent}" is not in the database "{self._database}" of the request.')
        query = parse_query(parent, message.query.structured_query)
        self._engine.require_index(query)
        return QueriedDocuments(database, query)

    def _since(self, message: Message) -> int | None:
        """When the listener was last told all; a time that cannot be resumed from if that was in another life."""
        which = message.WhichOneof("resume_type")
        if which == "read_time":
            time = micros(message.read_time)
            return time if time >= self._engine.born else _NEVER
        token = message.resume_token if which == "resume_token" else b""
        if not token:
            return None
        life, stamp = token[:-_TIME_BYTES], token[-_TIME_BYTES:]
        return int.from_bytes(stamp) if life == self._engine.life else _NEVER

    def _resume(self, target: Target, since: int) -> bool:
        try:
            target.resume(self._engine.documents.check_read_time(since))
        except Refusal:
            return False
        return True

    def _snapshot(self, read_time: int) -> bytes:
        """Tell that all targets together are as the database was at a time."""
        return self._moment(TargetChange.NO_CHANGE, read_time)

    def _moment(self, kind: int, read_time: int, *targets: int) -> bytes:
        """Tell a time, and the token with which a listener resumes from it."""
        change = TargetChange(target_change_type=kind, target_ids=targets, read_time=timestamp_of(read_time))
        change.resume_token = self._engine.life + read_time.to_bytes(_TIME_BYTES)
        return _wire(change)


def _change(kind: int, target: int, cause: Refusal | None = None) -> bytes:
    change = TargetChange(target_change_type=kind, target_ids=[target])
    if cause:
        change.cause.CopyFrom(Status(code=cause.number, message=cause.message))
    return _wire(change)


def _wire(change: Message) -> bytes:
    wire: bytes = ListenResponse(target_change=change).SerializeToString()
    return wire
