"""A bundle made to talk: beside every rule stand probes, rules of the same package that are parts of it.

The engine has no tracer. A probe of a branch gives what the branch gives; further probes are the beginnings of its
body, one expression longer each, so that the first that does not hold ends with the expression that failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from agent_mesh.policy._rule_bodies import Branch, Module, Path, Rule, reached_from, read_module
from agent_mesh.policy.bundles import Bundle

_PREFIX: Final = "probe_of_rule_"


@dataclass(frozen=True)
class ProbedBranch:
    """Entry points of one branch: what it gives, whether its body holds, and the beginnings of the body."""

    branch: Branch
    value: str
    body: str
    beginnings: tuple[str, ...]


@dataclass(frozen=True)
class ProbedRule:
    """A rule and its probes; none for a function, which has no value by itself."""

    rule: Rule
    branches: tuple[ProbedBranch, ...]

    @property
    def entrypoint(self) -> str:
        return "/".join(self.rule.path)


@dataclass
class Probed:
    """The bundle with its probes."""

    bundle: Bundle
    modules: list[Module]
    rules: list[ProbedRule]


@dataclass
class _Probes:
    """Names probes, and keeps their source by file."""

    taken: frozenset[str]
    with_beginnings: bool
    sources: dict[str, list[str]] = field(default_factory=dict)
    entrypoints: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def of(self, rule: Rule) -> ProbedRule:
        if rule.is_function:
            return ProbedRule(rule, ())
        return ProbedRule(rule, tuple(self._of_branch(rule, branch) for branch in rule.branches))

    def _of_branch(self, rule: Rule, branch: Branch) -> ProbedBranch:
        condition = f" if {{\n{branch.body}\n}}" if branch.body else ""
        value = self._add(rule, f" {branch.value}{condition}" if branch.value or condition else " := true")
        body = self._add(rule, condition) if condition else value
        beginnings: tuple[str, ...] = ()
        if self.with_beginnings:
            pieces = branch.expressions
            beginnings = tuple(
                self._add(rule, " if {\n" + "\n".join(pieces[:length]) + "\n}") for length in range(1, len(pieces) + 1)
            )
        return ProbedBranch(branch, value, body, beginnings)

    def _add(self, rule: Rule, rest: str) -> str:
        name = next(name for number in self.numbers if (name := f"{_PREFIX}{number}") not in self.taken)
        self.sources.setdefault(rule.file, []).append(f"{name}{rest}\n")
        self.entrypoints.append("/".join((*rule.package, name)))
        return self.entrypoints[-1]


def probed(bundle: Bundle, kind: str, *, with_beginnings: bool) -> Probed:
    """Return the bundle with probes beside every rule on which decisions of this kind may depend."""
    modules = [read_module(file, source) for file, source in sorted(bundle.modules.items())]
    entry = bundle.entrypoint(kind)
    rules = reached_from(tuple(entry.split("/")), modules)
    names = frozenset(rule.name for module in modules for rule in module.rules)
    probes = _Probes(names, with_beginnings)
    found = [probes.of(rule) for rule in rules]
    entrypoints = sorted({*probes.entrypoints, *(one.entrypoint for one in found if one.branches), entry})
    manifest = bundle.manifest.model_copy(
        update={"decisions": {f"probe_{number}": point for number, point in enumerate(entrypoints)}}
    )
    sources = {file: _joined(source, probes.sources.get(file, ())) for file, source in bundle.modules.items()}
    return Probed(bundle.model_copy(update={"modules": sources, "manifest": manifest, "tests": {}}), modules, found)


def paths_of(rules: Sequence[ProbedRule]) -> dict[Path, list[ProbedRule]]:
    """Return the rules by the path that their definitions share."""
    found: dict[Path, list[ProbedRule]] = {}
    for each in rules:
        found.setdefault(each.rule.path, []).append(each)
    return found


def _joined(source: str, probes: Sequence[str]) -> str:
    return "\n".join([source, *probes])
