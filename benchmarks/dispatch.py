"""Dispatch, round trip and throughput: our functions against bare functions that make the same calls.

Both run in one stack at once and are measured in turn, ours first in even rounds and the floor first in odd ones, so
that whatever else the machine does hits both. What counts is the ratio within a round, and the median of those.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from google.cloud import firestore

from benchmarks.load import Block, Callers, Mode
from benchmarks.mesh import FLOOR, OURS, VARIANTS, benchmark_stack
from benchmarks.report import Verdict, compare
from emulator.stack import LocalStack

P50_GOAL: Final = 1.5
THROUGHPUT_GOAL: Final = 0.7
CALLERS: Final = 16
_DRAIN_S: Final = 0.4
"""Over HTTP the result message is still on its way when the caller has its answer."""


@dataclass(frozen=True)
class Plan:
    """How much to run: rounds, tasks of a latency block, tasks of a throughput block, tasks before anything counts."""

    rounds: int
    latency_tasks: int
    throughput_tasks: int
    warm_up_tasks: int


FULL: Final = Plan(rounds=15, latency_tasks=25, throughput_tasks=200, warm_up_tasks=300)
QUICK: Final = Plan(rounds=5, latency_tasks=15, throughput_tasks=100, warm_up_tasks=100)


def measure(plan: Plan) -> list[Verdict]:
    """Run the comparison and return a verdict for each goal, and for p95, which has none of its own."""
    with benchmark_stack() as stack, ExitStack() as exits:
        _open_floor_budget(stack)
        callers = {each.name: exits.enter_context(Callers(stack, each)) for each in VARIANTS}
        modes: tuple[Mode, ...] = ("pubsub", "http")
        for mode in modes:
            for each in callers.values():
                each.at_once(mode, plan.warm_up_tasks, CALLERS)
        _assert_same_documents(stack)
        return [verdict for mode in modes for verdict in _compare(mode, plan, callers)]


def _compare(mode: Mode, plan: Plan, callers: dict[str, Callers]) -> list[Verdict]:
    alone = _rounds(plan.rounds, callers, lambda one: one.one_by_one(mode, plan.latency_tasks))
    many = _rounds(plan.rounds, callers, lambda one: one.at_once(mode, plan.throughput_tasks, CALLERS))
    return [
        compare(f"{mode} p50, 1 caller", [(a.p50, b.p50) for a, b in alone], "ms", P50_GOAL, at_most=True),
        compare(f"{mode} p95, 1 caller", [(a.p95, b.p95) for a, b in alone], "ms", None, at_most=True),
        compare(
            f"{mode} throughput, {CALLERS} callers",
            [(a.per_second, b.per_second) for a, b in many],
            "/s",
            THROUGHPUT_GOAL,
            at_most=False,
        ),
    ]


def _rounds(count: int, callers: dict[str, Callers], block: Callable[[Callers], Block]) -> list[tuple[Block, Block]]:
    pairs = []
    for number in range(count):
        order = (OURS, FLOOR) if number % 2 == 0 else (FLOOR, OURS)
        blocks = {}
        for variant in order:
            blocks[variant.name] = block(callers[variant.name])
            time.sleep(_DRAIN_S)
        pairs.append((blocks[OURS.name], blocks[FLOOR.name]))
    return pairs


def _open_floor_budget(stack: LocalStack) -> None:
    """The floor's budget document has to be there; ours is opened by its first task."""
    _database(stack).collection("floor-budgets").document("floor.20261120").set({"usedCents": 0, "limitCents": 10**9})


def _assert_same_documents(stack: LocalStack) -> None:
    """The floor is one only if it writes what we write: the same fields in the same number of documents."""
    database = _database(stack)
    for ours, floor in ((OURS.tasks, FLOOR.tasks), (OURS.runs, FLOOR.runs)):
        fields = [
            sorted((database.collection(name).limit(1).get()[0].to_dict() or {}).keys()) for name in (ours, floor)
        ]
        assert fields[0] == fields[1], f"{ours} and {floor} differ: {set(fields[0]) ^ set(fields[1])}"


def _database(stack: LocalStack) -> firestore.Client:
    os.environ["FIRESTORE_EMULATOR_HOST"] = stack.firestore
    return firestore.Client(project=stack.project)
