"""The methods that answer with a stream of messages: BatchGetDocuments, RunQuery, RunAggregationQuery."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from emulator.firestore.aggregation import parse_aggregations, result_of
from emulator.firestore.billing import EXPLAIN_READS, aggregation_cost, query_cost
from emulator.firestore.documents import Stored
from emulator.firestore.engine import Engine
from emulator.firestore.explain import Execution, metrics_of
from emulator.firestore.names import parse_database, parse_document, parse_parent
from emulator.firestore.protocol import (
    BatchGetDocumentsResponse,
    Message,
    RunAggregationQueryResponse,
    RunQueryResponse,
)
from emulator.firestore.query import Query, parse_query
from emulator.firestore.reading import Reading
from emulator.firestore.values import timestamp_of
from emulator.firestore.wire import with_document
from emulator.firestore.writes import mask_of, masked


class Reads:
    """The streaming reads, named as the protocol names them."""

    def __init__(self, engine: Engine) -> None:
        """Read what the engine holds."""
        self._engine = engine

    async def BatchGetDocuments(self, request: Message) -> AsyncIterator[bytes]:
        """Read several documents; missing ones are answered as missing."""
        database = parse_database(request.database)
        names = list(dict.fromkeys(parse_document(name) for name in request.documents))
        mask = mask_of(request.mask) if request.HasField("mask") else None
        reading = Reading(self._engine, database, request)
        await reading.lock([name.path for name in names])
        if reading.began:
            yield BatchGetDocumentsResponse(transaction=reading.began).SerializeToString()
        read_time = BatchGetDocumentsResponse(read_time=timestamp_of(reading.read_time)).SerializeToString()
        self._engine.usage.read("BatchGetDocuments", len(names))
        missing = []
        for name in names:
            where = reading.database if name.database == database else self._engine.documents.database(name.database)
            found = where.read(name.path, reading.at)
            if found:
                yield with_document(masked(found, mask), read_time)
            else:
                missing.append(str(name))
        for each in missing:  # as production does; the order is not promised
            yield BatchGetDocumentsResponse(missing=each).SerializeToString() + read_time

    async def RunQuery(self, request: Message) -> AsyncIterator[bytes]:
        """Run a query; the last message, or the only one, tells when it was true."""
        query = parse_query(parse_parent(request.parent), request.structured_query)
        self._engine.require_index(query)
        reading = Reading(self._engine, query.parent.database, request)
        explain = request.explain_options if request.HasField("explain_options") else None
        if reading.began:
            yield RunQueryResponse(transaction=reading.began).SerializeToString()
        if explain and not explain.analyze:
            self._engine.usage.read("RunQuery", EXPLAIN_READS)
            yield RunQueryResponse(explain_metrics=metrics_of(query)).SerializeToString()
            return
        started = time.perf_counter()
        documents = await self._answer(query, reading)
        cost = query_cost(query, len(documents), lambda: query.matching(reading.database, reading.at))
        self._engine.usage.read("RunQuery", cost.reads)
        read_time = RunQueryResponse(read_time=timestamp_of(reading.read_time)).SerializeToString()
        skipped = RunQueryResponse(skipped_results=query.offset).SerializeToString() if query.offset else b""
        for document in documents:
            yield with_document(masked(document, query.mask), read_time + skipped)
            skipped = b""
        if not documents:
            yield read_time + skipped
        if explain:
            metrics = metrics_of(query, Execution(len(documents), cost, time.perf_counter() - started))
            yield RunQueryResponse(explain_metrics=metrics).SerializeToString()

    async def RunAggregationQuery(self, request: Message) -> AsyncIterator[bytes]:
        """Count, add up or average what a query finds."""
        asked = request.structured_aggregation_query
        aggregations = parse_aggregations(asked)
        fields = [each.path for each in aggregations if each.path]
        query = parse_query(parse_parent(request.parent), asked.structured_query, fields)
        self._engine.require_index(query)
        reading = Reading(self._engine, query.parent.database, request)
        explain = request.explain_options if request.HasField("explain_options") else None
        if explain and not explain.analyze:
            self._engine.usage.read("RunAggregationQuery", EXPLAIN_READS)
            yield RunAggregationQueryResponse(explain_metrics=metrics_of(query)).SerializeToString()
            return
        started = time.perf_counter()
        documents = await self._answer(query, reading)
        cost = aggregation_cost(
            aggregations, query, len(documents), lambda: query.matching(reading.database, reading.at)
        )
        self._engine.usage.read("RunAggregationQuery", cost.reads)
        response = RunAggregationQueryResponse(
            result=result_of(aggregations, documents),
            read_time=timestamp_of(reading.read_time),
            transaction=reading.began,
        )
        if explain:
            response.explain_metrics.CopyFrom(metrics_of(query, Execution(1, cost, time.perf_counter() - started)))
        yield response.SerializeToString()

    async def _answer(self, query: Query, reading: Reading) -> Sequence[Stored]:
        def run() -> list[Stored]:
            return [each.document for each in query.run(reading.database, reading.at)]

        def changes(path: str, before: Stored | None, after: Stored | None) -> bool:
            return query.in_scope(path) and bool(query.accepts(before) or query.accepts(after))

        await reading.lock_query(lambda: [each.path for each in run()], changes)
        return run()
