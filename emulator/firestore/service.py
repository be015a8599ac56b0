"""The methods of ``google.firestore.v1.Firestore`` that answer once: each takes a parsed request and gives a message.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#firestore
"""

from __future__ import annotations

import base64
import binascii
import random
import string
from typing import Final

from emulator.firestore.billing import REQUEST_READS
from emulator.firestore.engine import Engine
from emulator.firestore.names import (
    Name,
    check_collection_id,
    name_key,
    parse_database,
    parse_document,
    parse_parent,
)
from emulator.firestore.partition import partitions
from emulator.firestore.protocol import (
    BatchWriteResponse,
    BeginTransactionResponse,
    CommitResponse,
    Document,
    Empty,
    ListCollectionIdsResponse,
    ListDocumentsResponse,
    Message,
    Status,
    Write,
    WriteResult,
)
from emulator.firestore.query import parse_query
from emulator.firestore.reading import Reading
from emulator.firestore.values import timestamp_of
from emulator.firestore.writes import mask_of, masked, plan_write
from emulator.refusals import Refusal, invalid, not_found

_AUTO_ID: Final = string.ascii_letters + string.digits
_CHANCE: Final = random.SystemRandom()
_PAGE: Final = 300
_LARGEST_PAGE: Final = 1000
_MAX_BATCH_WRITES: Final = 500


class Service:
    """The unary methods, named as the protocol names them."""

    def __init__(self, engine: Engine) -> None:
        """Serve what the engine holds."""
        self._engine = engine

    async def GetDocument(self, request: Message) -> bytes:
        """Read one document."""
        name = parse_document(request.name)
        mask = mask_of(request.mask) if request.HasField("mask") else None
        reading = Reading(self._engine, name.database, request)
        await reading.lock([name.path])
        found = reading.database.read(name.path, reading.at)
        self._engine.usage.read("GetDocument", 1)
        if found is None:
            raise not_found(f"Document ({name}) not found.")
        return masked(found, mask)

    async def ListDocuments(self, request: Message) -> Message:
        """Read a page of a collection."""
        parent = parse_parent(request.parent)
        collection_id = check_collection_id(request.collection_id) if request.collection_id else ""
        size = _page_size(request.page_size)
        if request.show_missing and request.order_by:
            raise invalid("show_missing and order_by cannot be used together.")
        mask = mask_of(request.mask) if request.HasField("mask") else None
        reading = Reading(self._engine, parent.database, request)
        names = _listed(reading, parent, collection_id, missing=request.show_missing)
        if request.order_by:
            names = _ordered(names, request.order_by)
        start = _page_start(names, request.page_token)
        shown = names[start : start + size]
        await reading.lock(shown)
        response = ListDocumentsResponse(next_page_token=_token(names, start + size))
        for path in shown:
            found = reading.database.read(path, reading.at)
            name = str(Name(parent.database, tuple(path.split("/"))))
            response.documents.append(Document.FromString(masked(found, mask)) if found else Document(name=name))
        self._engine.usage.read("ListDocuments", max(1, len(shown)))
        return response

    async def ListCollectionIds(self, request: Message) -> Message:
        """The ids of the collections of a document or of the root."""
        parent = parse_parent(request.parent)
        size = _page_size(request.page_size)
        reading = Reading(self._engine, parent.database, request)
        ids = reading.database.collection_ids(parent.path, reading.at)
        start = _page_start(ids, request.page_token)
        self._engine.usage.read("ListCollectionIds", REQUEST_READS)
        return ListCollectionIdsResponse(
            collection_ids=ids[start : start + size], next_page_token=_token(ids, start + size)
        )

    async def CreateDocument(self, request: Message) -> bytes:
        """Write a document that must not exist, with an id of the caller or of the server."""
        if request.document.name:
            raise invalid("document.name must not be set")
        parse_parent(request.parent)
        check_collection_id(request.collection_id)
        document_id = request.document_id or "".join(_CHANCE.choices(_AUTO_ID, k=20))
        write = Write(update=request.document)
        write.update.name = f"{request.parent}/{request.collection_id}/{document_id}"
        write.current_document.exists = False
        return await self._write_one("CreateDocument", write, request)

    async def UpdateDocument(self, request: Message) -> bytes:
        """Write a document, whole or by mask."""
        write = Write(update=request.document)
        if request.HasField("update_mask"):
            write.update_mask.CopyFrom(request.update_mask)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        return await self._write_one("UpdateDocument", write, request)

    async def DeleteDocument(self, request: Message) -> Message:
        """Delete a document."""
        write = Write(delete=request.name)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        database = parse_document(request.name).database
        await self._engine.commit("DeleteDocument", database, [plan_write(write, database)], b"")
        return Empty()

    async def BeginTransaction(self, request: Message) -> Message:
        """Begin a transaction."""
        database = parse_database(request.database)
        began = self._engine.transactions.begin(database, request.options)
        return BeginTransactionResponse(transaction=began.id)

    async def Rollback(self, request: Message) -> Message:
        """End a transaction without writing."""
        self._engine.transactions.rollback(parse_database(request.database), request.transaction)
        return Empty()

    async def Commit(self, request: Message) -> Message:
        """Do all writes or none."""
        database = parse_database(request.database)
        writes = [plan_write(write, database) for write in request.writes]
        done = await self._engine.commit("Commit", database, writes, request.transaction)
        return CommitResponse(write_results=done.results, commit_time=timestamp_of(done.commit.time))

    async def BatchWrite(self, request: Message) -> Message:
        """Do each write on its own; each has a status of its own."""
        database = parse_database(request.database)
        if len(request.writes) > _MAX_BATCH_WRITES:
            raise invalid(f"maximum {_MAX_BATCH_WRITES} writes allowed per request")
        writes = [plan_write(write, database) for write in request.writes]
        if len({write.name for write in writes}) < len(writes):
            raise invalid("the same document cannot be written more than once in a single request")
        response = BatchWriteResponse()
        for write in writes:
            try:
                done = await self._engine.commit("BatchWrite", database, [write], b"")
            except Refusal as refusal:
                response.write_results.append(WriteResult())
                response.status.append(Status(code=refusal.number, message=refusal.message))
            else:
                response.write_results.extend(done.results)
                response.status.append(Status())
        return response

    async def PartitionQuery(self, request: Message) -> Message:
        """Cursors that cut a collection group into parts."""
        query = parse_query(parse_parent(request.parent), request.structured_query)
        reading = Reading(self._engine, query.parent.database, request)
        self._engine.usage.read("PartitionQuery", REQUEST_READS)
        return partitions(query, reading.database, request, reading.at)

    async def _write_one(self, method: str, write: Message, request: Message) -> bytes:
        name = parse_document(write.update.name)
        mask = mask_of(request.mask) if request.HasField("mask") else None
        await self._engine.commit(method, name.database, [plan_write(write, name.database)], b"")
        after = self._engine.documents.database(name.database).read(name.path)
        if after is None:
            raise not_found(f"Document ({name}) not found.")
        return masked(after, mask)


def _listed(reading: Reading, parent: Name, collection_id: str, *, missing: bool) -> list[str]:
    database, at = reading.database, reading.at
    paths = [each.path for each in database.scan(parent.path, collection_id, at, everywhere=False)]
    if missing and collection_id:
        collection = f"{parent.path}/{collection_id}" if parent.path else collection_id
        paths += [f"{collection}/{each}" for each in database.missing(collection, at)]
        paths.sort(key=name_key)
    return paths


def _ordered(paths: list[str], order_by: str) -> list[str]:
    words = order_by.split()
    if words[0] != "__name__" or len(words) > 2 or words[-1].lower() not in {"__name__", "asc", "desc"}:  # noqa: PLR2004
        raise invalid(f'ListDocuments can be ordered by __name__ only, not by "{order_by}"; use RunQuery.')
    return paths[::-1] if words[-1].lower() == "desc" else paths


def _page_size(size: int) -> int:
    if size < 0:
        raise invalid("Page size must be nonnegative.")
    return min(size or _PAGE, _LARGEST_PAGE)


def _token(names: list[str], position: int) -> str:
    return base64.urlsafe_b64encode(names[position].encode()).decode() if position < len(names) else ""


def _page_start(names: list[str], token: str) -> int:
    """Where a page begins: at the name in its token, or where that name would stand now."""
    if not token:
        return 0
    try:
        wanted = base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, ValueError):
        raise invalid("invalid page token") from None
    if wanted in names:
        return names.index(wanted)
    return next((index for index, each in enumerate(names) if name_key(each) > name_key(wanted)), len(names))
