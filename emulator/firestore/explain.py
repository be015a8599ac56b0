"""Explain metrics: the index that production would choose, and what the query cost.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#explainmetrics
"""

from __future__ import annotations

from typing import NamedTuple

from emulator.firestore.billing import QueryCost
from emulator.firestore.filters import NAME
from emulator.firestore.names import format_field_path
from emulator.firestore.protocol import Duration, ExplainMetrics, Message, Struct
from emulator.firestore.query import Query


class Execution(NamedTuple):
    """How a query that was run went."""

    returned: int
    cost: QueryCost
    seconds: float


def metrics_of(query: Query, execution: Execution | None = None) -> Message:
    """The plan, and if it was run how that went."""
    metrics = ExplainMetrics()
    metrics.plan_summary.indexes_used.append(_index(query))
    if execution:
        returned, cost, seconds = execution
        stats = metrics.execution_stats
        stats.results_returned, stats.read_operations = returned, cost.reads
        stats.execution_duration.CopyFrom(Duration(nanos=min(int(seconds * 1e9), 999_999_999)))
        stats.debug_stats.update(
            {
                "documents_scanned": str(cost.documents),
                "index_entries_scanned": str(max(cost.documents, cost.entries)),
                "billing_details": {
                    "documents_billable": str(cost.documents),
                    "index_entries_billable": str(cost.entries),
                    "min_query_cost": "0" if cost.documents or cost.entries else "1",
                },
            }
        )
    return metrics


def _index(query: Query) -> Message:
    """The fields in the order an index has them: equalities first, then what results are ordered by."""
    ordered = {order.path for order in query.orders}
    equal = [each.path for each in query.where.conditions() if each.path not in ordered] if query.where else []
    fields = [f"{format_field_path(path)} ASC" for path in dict.fromkeys(equal)]
    fields += [
        f"{'__name__' if order.path == NAME else format_field_path(order.path)} {'DESC' if order.descending else 'ASC'}"
        for order in query.orders
    ]
    if query.nearest:
        fields.append(f"{format_field_path(query.nearest.path)} VECTOR<{len(query.nearest.vector)}>")
    scope = "Collection group" if query.everywhere else "Collection"
    index: Message = Struct()
    index.update({"query_scope": scope, "properties": f"({', '.join(fields)})"})
    return index
