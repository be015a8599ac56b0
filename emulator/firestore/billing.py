"""How many document reads an answer is billed as: https://firebase.google.com/docs/firestore/pricing.

Of the sections of that page: transactions begin and end for free, and what is read in them is read like everything
else. Each set or update is one write, whatever it transforms and whether or not it changes anything; each delete is one
delete. The page does not say what a delete of a document that does not exist costs: it counts as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from emulator.firestore.aggregation import Aggregation
from emulator.firestore.filters import NAME
from emulator.firestore.names import FieldPath
from emulator.firestore.query import Found, Query
from emulator.firestore.values import field_at, is_vector

ENTRIES_PER_READ: Final = 1000
_VECTOR_ENTRIES_PER_READ: Final = 100
EXPLAIN_READS: Final = 1
"""Section "Query Explain": of a query that is explained and not run."""

REQUEST_READS: Final = 1
"""Section "Queries other than document reads": of each request for collection ids or partitions."""

Matching = Callable[[], Iterable[Found]]
"""What matches a query, before offset and limit; asked only where the answer alone does not tell the price."""


class QueryCost(NamedTuple):
    """What is billed of one query: documents, and index entries by so many for a read."""

    documents: int
    entries: int
    entries_per_read: int = ENTRIES_PER_READ

    @property
    def reads(self) -> int:
        """Section "Minimum charge for queries": at least one."""
        return max(1, self.documents - (-self.entries // self.entries_per_read))


def query_cost(query: Query, returned: int, matching: Matching) -> QueryCost:
    """The cost of a query that returned so many documents: those, and those that its offset skipped.

    How many index entries production looks at only Query Explain tells. Here they are, for queries that pay for them,
    those of the same documents, and of a vector search all that match its filter: its index is flat.
    """
    documents = returned + _skipped(query, returned, matching)
    if query.nearest:
        path = query.nearest.path
        values = (field_at(each.document.fields, path) for each in matching())
        entries = sum(1 for value in values if value is not None and is_vector(value))
        return QueryCost(documents, entries, _VECTOR_ENTRIES_PER_READ)
    return QueryCost(documents, documents if len(range_fields(query)) > 1 else 0)


def aggregation_cost(aggregations: Sequence[Aggregation], query: Query, returned: int, matching: Matching) -> QueryCost:
    """Section "Aggregation queries": index entries alone; of one that only counts up to a number, no more than that."""
    bounds = [each.up_to for each in aggregations if each.up_to is not None]
    looked_at = min(returned, max(bounds)) if len(bounds) == len(aggregations) else returned
    return QueryCost(0, looked_at + _skipped(query, returned, matching))


def range_fields(query: Query) -> set[FieldPath]:
    """The fields of which more than one make a query pay for index entries, section "Index entry reads".

    Those with an inequality; ``__name__`` wherever the query names it; and if there is one of these, each other field
    that the results are ordered by.
    """
    conditions = list(query.where.conditions()) if query.where else []
    ordered = {order.path for order in query.orders[: query.explicit]}
    found = {each.path for each in conditions if each.inequality or each.path == NAME} | ordered & {NAME}
    return found | ordered if found else set()


def _skipped(query: Query, returned: int, matching: Matching) -> int:
    """Section "Managing large result sets": what was skipped was read."""
    if returned or not query.offset:
        return query.offset
    return min(query.offset, sum(1 for _ in matching()))
