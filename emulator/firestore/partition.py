"""Partitions of a collection group: cursors that cut its documents into parts of about the same size.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#partitionqueryrequest
"""

from __future__ import annotations

from emulator.firestore.documents import Database
from emulator.firestore.filters import NAME
from emulator.firestore.names import Name
from emulator.firestore.protocol import Cursor, Message, PartitionQueryResponse, Value
from emulator.firestore.query import Order, Query
from emulator.refusals import invalid


def partitions(query: Query, database: Database, request: Message, at: int | None) -> Message:
    """The cursors between the parts; one fewer than parts. Raises Refusal."""
    if not query.everywhere or query.where or query.orders != (Order(NAME, descending=False),):
        raise invalid("Partition queries must be of a collection group, without filters and ordered by __name__.")
    if request.partition_count <= 0:
        raise invalid("partition_count must be positive.")
    if request.page_size < 0:
        raise invalid("Page size must be nonnegative.")
    paths = [each.document.path for each in query.matching(database, at)]
    count = min(request.partition_count, len(paths) - 1) if paths else 0
    cuts = [paths[len(paths) * number // (count + 1)] for number in range(1, count + 1)]
    first = cuts.index(request.page_token) if request.page_token in cuts else 0
    if request.page_token and request.page_token not in cuts:
        raise invalid("invalid page token")
    shown = cuts[first : first + request.page_size] if request.page_size else cuts[first:]
    rest = cuts[first + len(shown) :]
    return PartitionQueryResponse(
        partitions=[_cursor(Name(query.parent.database, tuple(path.split("/")))) for path in shown],
        next_page_token=rest[0] if rest else "",
    )


def _cursor(name: Name) -> Message:
    return Cursor(values=[Value(reference_value=str(name))], before=True)
