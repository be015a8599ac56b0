"""One usage document of the two servers' documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from emulator.prices import micro_usd, pico_usd

_COST: Final = "costMicroUsd"
_MERGED: Final = ("service", "prices", "totals", "byMethod", "traces")
_LAST_USED: Final = "lastUsed"
Document = Mapping[str, Any]


def merge_usage(firestore_report: Document, pubsub_report: Document) -> dict[str, object]:
    """Add up two reports on the same question: one line for each trace, with the cost of both services.

    Methods are named ``firestore.Commit``, ``pubsub.Publish``. A trace that only one service shows, while the other
    has kept more traces than it shows, is marked: ``partial`` names the service whose part may be missing; whoever asks
    for that trace alone gets all of it. Raises ValueError for reports that were priced differently.
    """
    reports = (firestore_report, pubsub_report)
    first, second = reports
    if first["prices"] != second["prices"]:
        raise ValueError(f"the reports have different prices: {first['prices']} and {second['prices']}")
    traces = [report["traces"] for report in reports]
    return {
        "prices": first["prices"],
        "totals": _add(first["totals"], second["totals"]),
        "byMethod": _methods(first, first["byMethod"]) | _methods(second, second["byMethod"]),
        "traces": {
            "kept": {report["service"]: report["traces"]["kept"] for report in reports},
            "shown": _traces(first, second),
            **{name: _add(traces[0][name], traces[1][name]) for name in ("untraced", "older")},
        },
        **{name: value for report in reports for name, value in report.items() if name not in _MERGED},
    }


def _traces(first: Document, second: Document) -> list[dict[str, Any]]:
    lines: dict[str, dict[str, Any]] = {}
    for report, other in ((first, second), (second, first)):
        others = {line["trace"] for line in other["traces"]["shown"]}
        cut = len(others) < other["traces"]["kept"] and not _asked_for_one(report, other)
        for line in report["traces"]["shown"]:
            own = _with_methods(report, line)
            known = lines.get(line["trace"])
            lines[line["trace"]] = _add(known, own) if known else own
            if cut and line["trace"] not in others:
                lines[line["trace"]]["partial"] = [other["service"]]
    return sorted(lines.values(), key=lambda line: str(line[_LAST_USED]), reverse=True)


def _asked_for_one(*reports: Document) -> bool:
    """Whether the reports are about one trace, so that nothing of it was cut off."""
    return any("byMethod" in line for report in reports for line in report["traces"]["shown"])


def _with_methods(report: Document, line: Document) -> dict[str, Any]:
    return {**line, "byMethod": _methods(report, line["byMethod"])} if "byMethod" in line else dict(line)


def _methods(report: Document, lines: Document) -> dict[str, Any]:
    return {f"{report['service']}.{method}": line for method, line in lines.items()}


def _add(first: Document, second: Document) -> dict[str, Any]:
    """Each count and the cost of two lines together; the later time, and the methods of both."""
    both: dict[str, Any] = {**first, **second}
    for name in first.keys() & second.keys():
        ours, theirs = first[name], second[name]
        if name == _COST:
            both[name] = micro_usd(pico_usd(ours) + pico_usd(theirs))
        elif isinstance(ours, int):
            both[name] = ours + theirs
        elif isinstance(ours, dict):
            both[name] = ours | theirs
        else:
            both[name] = max(ours, theirs)
    return both
