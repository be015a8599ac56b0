"""`python -m benchmarks [NAME...] [--quick] [--json]`: runs all benchmarks, or the named."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from typing import Final

from emulator.errors import EmulatorError


def _dispatch(options: argparse.Namespace) -> object:
    from benchmarks import dispatch, report

    verdicts = dispatch.measure(dispatch.QUICK if options.quick else dispatch.FULL)
    if not options.json:
        report.show("A task's round trip, and how many at once: ours against bare calls", verdicts)
    return [each.as_json() for each in verdicts]


def _cost(options: argparse.Namespace) -> object:
    from benchmarks import cost

    measured = cost.measure()
    if options.write_docs:
        from benchmarks import watched

        cost.DOCUMENT.write_text(cost.document(measured, watched.measure()))
    if not options.json:
        cost.show(measured)
    return cost.as_json(measured)


def _import_time(options: argparse.Namespace) -> object:
    from benchmarks import import_time, report

    verdicts = import_time.measure(5 if options.quick else 15)
    if not options.json:
        report.show("Import of a function: main.py against its third-party packages alone", verdicts)
    return [each.as_json() for each in verdicts]


def _relay(options: argparse.Namespace) -> object:
    from benchmarks import relay, report

    verdicts = relay.measure(relay.QUICK if options.quick else relay.FULL)
    if not options.json:
        report.show(
            "Relay, ours and in memory; ratio: how many (commit + publish) longer, and deliveries to 18,000", verdicts
        )
    return [each.as_json() for each in verdicts]


def _stages(options: argparse.Namespace) -> object:
    from benchmarks import stages

    measured = stages.measure(100 if options.quick else 400)
    if not options.json:
        stages.show(measured)
    return stages.as_json(measured)


def _policy(options: argparse.Namespace) -> object:
    from benchmarks import policy

    figures = policy.measure(3 if options.quick else 9, 300 if options.quick else 2_000)
    if not options.json:
        policy.show(figures)
    return policy.as_json(figures)


def _ledger(options: argparse.Namespace) -> object:
    from benchmarks import ledger

    measured = ledger.measure(5 if options.quick else 20)
    if not options.json:
        ledger.show(measured)
    return ledger.as_json(measured)


BENCHMARKS: Final[dict[str, Callable[[argparse.Namespace], object]]] = {
    "import_time": _import_time,
    "cost": _cost,
    "stages": _stages,
    "policy": _policy,
    "dispatch": _dispatch,
    "ledger": _ledger,
    "relay": _relay,
}


def main() -> None:
    """Run the named benchmarks, or all; print tables, or one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds: enough to see that it runs")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--write-docs", action="store_true", help="cost: write docs/cost.md")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # google-auth's, of a Python that is leaving
    try:
        results = {name: BENCHMARKS[name](options) for name in options.names or BENCHMARKS}
    except EmulatorError as error:
        sys.exit(f"the benchmark cannot run: {error}")
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
