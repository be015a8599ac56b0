"""Policy: decisions a second on a policy of 50 rules, and how long a cold process takes to its first decision.

Decisions are measured with everything that the adapter adds: bounds, canonical input, digest, the hop to a thread that
can be given up, and checking the answer. Beside them, in the same rounds, regopy alone evaluates the same compiled
rules. Cold loads are measured in fresh processes, in turn from the saved form and from the sources.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from agent_mesh.policy import Bundle, Manifest, Policy, packaged_bundle
from agent_mesh.policy.saved import compile_to_save
from benchmarks.import_time import run_python

RULES: Final = 50
GOAL_A_SECOND: Final = 1_200
GOAL_COLD_MS: Final = 5.0
_THREADS: Final = 8
_REASONS: Final = 3
"""Of the conditions those with the number 6, 13 and 20 ask for more than the level below."""

_KIND: Final = "trial"
_ENTRYPOINT: Final = "p/decision"
_INPUT: Final[dict[str, JsonValue]] = {
    "subject": {"id": "u123", "level": 5, "groups": ["callers"]},
    "resource": {"kind": "dataset", "id": "dataset:finance.q4", "scope": "read"},
    "context": {"risk": 42, "device": "compliant", "geo": "US"},
}
_COLD: Final = """
import json, sys, time
import pydantic, agent_mesh.contracts.policy, agent_mesh.platform.clock  # every function has them
began = time.perf_counter()
import agent_mesh.policy, agent_mesh.policy.saved, agent_mesh.policy._rego, agent_mesh.policy.decisions
imported = time.perf_counter()
from agent_mesh.policy import Bundle, Engine, Policy
from agent_mesh.policy.saved import Saved
kind, value = json.loads(sys.argv[3])
text = open(sys.argv[1], "rb").read()
began_load = time.perf_counter()
bundle = Bundle.model_validate_json(text)
saved = Saved.model_validate_json(open(sys.argv[2], "rb").read()) if sys.argv[2] else None
assert saved is None or saved.fits(bundle)
policy = Policy(bundle, Engine(bundle, saved=saved))
loaded = time.perf_counter()
assert policy.decide(kind, value).policy_ref.endswith("rego#allow")
print(json.dumps([imported - began, loaded - began_load, time.perf_counter() - loaded]))
"""


@dataclass(frozen=True)
class Figure:
    """One number, the median over rounds, with its goal if it has one."""

    name: str
    value: float
    unit: str
    lowest: float
    highest: float
    rounds: int
    goal: float | None = None
    at_most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None where there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def fifty_rules() -> Bundle:
    """Return a policy of 50 rules, written as the packaged ones are: 23 conditions, and for each the reason against it.

    The input that is asked about fails one of them, so that every rule is evaluated, most of them for both.
    """
    numbers = range((RULES - 4) // 2)
    checks = [
        f'ok_{n} if {{\n\tinput.subject.level >= lowest + {n % 7}\n\tinput.resource.kind != "kind_{n}"\n}}\n\n'
        f'reasons contains "reason_{n}" if not ok_{n}\n'
        for n in numbers
    ]
    allow = "lowest := 0\n\ndefault allow := false\n\nallow if {\n" + "".join(f"\tok_{n}\n" for n in numbers) + "}\n"
    decision = (
        'decision := {"allow": true, "reasons": [], "obligations": {}, "policy_ref": "p.rego#allow"} if allow\n\n'
        'else := {"allow": false, "reasons": reasons, "obligations": {}, "policy_ref": "p.rego#allow"}\n'
    )
    source = "\n".join(["package p\n", *checks, allow, decision])
    manifest = Manifest(release="1.0.0", decisions={_KIND: _ENTRYPOINT})
    return Bundle(name="fifty", manifest=manifest, modules={"p.rego": source})


def measure(rounds: int, decisions: int) -> list[Figure]:
    """Return all figures."""
    return [*_throughput(rounds, decisions), *_cold(rounds)]


def _throughput(rounds: int, decisions: int) -> list[Figure]:
    bundle = fifty_rules()
    policy = Policy(bundle)
    alone = _engine_alone(bundle)

    def decide() -> None:
        decision = policy.decide(_KIND, _INPUT)
        assert len(decision.reasons) == _REASONS, decision

    rates: list[list[float]] = []
    with ThreadPoolExecutor(_THREADS) as threads:
        rates += [
            [_rate(decisions, decide), _rate_of_many(threads, decisions, decide), _rate(decisions, alone)]
            for _ in range(rounds + 1)  # the first warms up
        ]
    policy.close()
    one, several, engine = zip(*rates[1:], strict=True)
    return [
        _figure(f"decisions on {RULES} rules, one caller", one, "/s", GOAL_A_SECOND, at_most=False),
        _figure(f"decisions on {RULES} rules, {_THREADS} callers", several, "/s", GOAL_A_SECOND, at_most=False),
        _figure("regopy alone, the same rules, one thread", engine, "/s"),
    ]


def _rate(count: int, call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call()
    return count / (time.perf_counter() - began)


def _rate_of_many(threads: ThreadPoolExecutor, count: int, call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for done in [threads.submit(call) for _ in range(count)]:
        done.result()
    return count / (time.perf_counter() - began)


def _engine_alone(bundle: Bundle) -> Callable[[], object]:
    from agent_mesh.policy._rego import Compiled, Interpreter

    compiled = Compiled.of(bundle.modules, "{}", [_ENTRYPOINT])
    interpreter = Interpreter()
    text = json.dumps(_INPUT)
    return lambda: interpreter.evaluate(compiled, _ENTRYPOINT, text)


def _cold(rounds: int) -> list[Figure]:
    access: JsonValue = {
        "subject": {"enterprise": "A"},
        "resource": {"enterprise": "B", "scope": "read"},
        "context": {"session_risk": 42},
    }
    figures = []
    for bundle, question in ((packaged_bundle("mesh"), ["access", access]), (fifty_rules(), [_KIND, _INPUT])):
        with tempfile.TemporaryDirectory() as folder:
            source, saved = Path(folder, "bundle.json"), Path(folder, "saved.json")
            source.write_text(bundle.model_dump_json())
            saved.write_text(compile_to_save(bundle).model_dump_json())
            arguments = {"saved": (str(source), str(saved)), "compiled": (str(source), "")}
            took: dict[str, list[list[float]]] = {"saved": [], "compiled": []}
            for _ in range(rounds):
                for way, files in arguments.items():
                    seconds: list[float] = json.loads(run_python(_COLD, *files, json.dumps(question)))
                    took[way].append([part * 1000 for part in seconds])
        name = f"bundle {bundle.name}"
        goal = GOAL_COLD_MS
        figures.append(_figure(f"{name}: load from its saved form", [t[1] for t in took["saved"]], "ms", goal))
        figures.append(_figure(f"{name}: load, and the first decision", [t[1] + t[2] for t in took["saved"]], "ms"))
        figures.append(_figure(f"{name}: load from its sources", [t[1] for t in took["compiled"]], "ms"))
        figures.append(_figure(f"{name}: import of policy and engine", [t[0] for t in took["saved"]], "ms"))
    return figures


def _figure(
    name: str, values: Sequence[float], unit: str, goal: float | None = None, *, at_most: bool = True
) -> Figure:
    rounded = [round(value, 2) for value in values]
    return Figure(name, round(median(values), 2), unit, min(rounded), max(rounded), len(values), goal, at_most)


def as_json(figures: list[Figure]) -> list[dict[str, object]]:
    """Return the figures for machines."""
    return [asdict(each) | {"reached": each.reached} for each in figures]


def show(figures: list[Figure]) -> None:
    """Print the table."""
    table = Table(title="Policy: decisions a second, and cold loads")
    for column in ("", "median", "lowest - highest", "rounds", "goal", "reached"):
        table.add_column(column, justify="left" if column in {"", "reached"} else "right")
    for each in figures:
        goal = "" if each.goal is None else f"{'<=' if each.at_most else '>='} {each.goal:g}"
        reached = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[each.reached]
        span = f"{each.lowest:g} - {each.highest:g}"
        table.add_row(each.name, f"{each.value:g} {each.unit}", span, str(each.rounds), goal, reached)
    Console().print(table)
