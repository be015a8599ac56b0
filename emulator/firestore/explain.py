"""Explain metrics: the index that production would choose, and what the query cost.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#explainmetrics
"""

from __future__ import annotations

from emulator.firestore.filters import NAME
from emulator.firestore.names import format_field_path
from emulator.firestore.protocol import Duration, ExplainMetrics, Message, Struct
from emulator.firestore.query import Query


def metrics_of(query: Query, returned: int | None = None, reads: int = 0, seconds: float = 0.0) -> Message:
    """The plan, and if it was run (``returned`` is set) how it went."""
    metrics = ExplainMetrics()
    metrics.plan_summary.indexes_used.append(_index(query))
    if returned is not None:
        stats = metrics.execution_stats
        stats.results_returned, stats.read_operations = returned, reads
        stats.execution_duration.CopyFrom(Duration(nanos=min(int(seconds * 1e9), 999_999_999)))
        billing = {"documents_billable": str(returned), "index_entries_billable": "0", "min_query_cost": "0"}
        stats.debug_stats.update(
            {
                "documents_scanned": str(returned),
                "index_entries_scanned": str(returned),
                "billing_details": billing,
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
