"""`POST /evaluate/explain`: every rule on which a decision may depend, tried one by one by the same engine.

The explanation is checked against what it explains: a rule must be defined exactly where one of its parts held, and
the decision must be the one that the version in force makes. Where that is not so, it says that it is not complete.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from pydantic import JsonValue

from agent_mesh.contracts.policy import LookedAt, TriedRule
from agent_mesh.contracts.values import canonical_json
from agent_mesh.policy._probes import Probed, ProbedBranch, ProbedRule, paths_of, probed
from agent_mesh.policy._rule_bodies import Module, Path, rules_meant
from agent_mesh.policy._scanner import Reference
from agent_mesh.policy.bundles import Bundle, bundle_names, packaged_bundle
from agent_mesh.policy.decisions import Decision
from agent_mesh.policy.engine import Engine
from agent_mesh.policy.errors import BundleRefused, NoAnswer, Refusal
from agent_mesh.policy.inputs import InputText
from agent_mesh.policy.rehearsal import rehearse

_KEPT_ENGINES: Final = 4
_PATIENCE_S: Final = 10.0
_SHOWN_BYTES: Final = 1024

_REFUSED_S: Final = 60.0
"""How long a bundle whose parts were refused is not tried again: each try is two processes, while others wait."""


@dataclass(frozen=True)
class Explained:
    """How each rule went, and whether that adds up to the decision."""

    rules: list[TriedRule]
    complete: bool


class Explainer:
    """Explains decisions. The bundles with their probes are compiled when they are first needed, and the last kept."""

    def __init__(self, try_first: Callable[[Bundle], object] = rehearse) -> None:
        """Nothing is compiled yet.

        `try_first` gets a bundle with probes before it is compiled here, unless its rules are the package's own: it was
        rehearsed without them, and the compiler may take the parts of a rule worse than the rule.
        """
        self._try_first = try_first
        self._lock = threading.Lock()
        self._ready: OrderedDict[tuple[str, str], tuple[Probed, Engine]] = OrderedDict()
        self._refused_until: dict[tuple[str, str], float] = {}

    def explain(self, bundle: Bundle, decision: Decision, value: JsonValue) -> Explained:
        """Return how each rule went for an input about which `bundle` made `decision`."""
        try:
            marked, engine = self._engine(bundle, decision.kind)
            text = engine.read(value)
        except (BundleRefused, NoAnswer):
            return Explained([], complete=False)
        trial = _Trial(marked, engine, text, value)
        rules = [tried for rule in marked.rules for tried in trial.tried(rule)]
        adds_up = trial.adds_up() and trial.decides(bundle.entrypoint(decision.kind), decision)
        return Explained(rules, complete=adds_up and not trial.ran_out)

    def _engine(self, bundle: Bundle, kind: str) -> tuple[Probed, Engine]:
        key = (bundle.version, kind)
        with self._lock:
            if monotonic() < self._refused_until.get(key, 0.0):
                raise BundleRefused(f"Bundle {bundle.name} cannot be explained: its parts were refused.")
            try:
                ready = self._ready.get(key) or self._compiled(bundle, kind)
            except BundleRefused:
                self._refused_until[key] = monotonic() + _REFUSED_S
                raise
            self._ready[key] = ready
            self._ready.move_to_end(key)
            if len(self._ready) > _KEPT_ENGINES:
                self._ready.popitem(last=False)
            return ready

    def _compiled(self, bundle: Bundle, kind: str) -> tuple[Probed, Engine]:
        """Compile with all probes; without beginnings of bodies where an expression was not cut as the engine would."""
        is_own = bundle.name in bundle_names() and packaged_bundle(bundle.name).version == bundle.version
        try:
            return self._tried(probed(bundle, kind, with_beginnings=True), is_own=is_own)
        except BundleRefused:
            return self._tried(probed(bundle, kind, with_beginnings=False), is_own=is_own)

    def _tried(self, marked: Probed, *, is_own: bool) -> tuple[Probed, Engine]:
        if not is_own:
            self._try_first(marked.bundle)
        return marked, Engine(marked.bundle, workers=2)


@dataclass
class _Trial:
    """One input against all rules."""

    marked: Probed
    engine: Engine
    text: InputText
    value: JsonValue
    ran_out: bool = False
    _deadline: float = field(default_factory=lambda: monotonic() + _PATIENCE_S)
    _known: dict[str, tuple[JsonValue, Refusal | None]] = field(default_factory=dict)
    _held: dict[Path, bool] = field(default_factory=dict)

    def tried(self, probed_rule: ProbedRule) -> list[TriedRule]:
        """Return how each branch of a rule went, up to the one that held."""
        rule = probed_rule.rule
        name, module = f"{rule.file}#{rule.name}", self._module(rule.file)
        if rule.is_function:
            looked_at = self._looked_at(rule.branches[0].looks_at, module)
            line = rule.branches[0].line
            return [TriedRule(rule=name, line=line, kind="function", looked_at=looked_at)]
        if rule.is_default:
            held = not self._another_held(rule.path)
            return [TriedRule(rule=name, line=rule.branches[0].line, kind="default", held=held)]
        results: list[TriedRule] = []
        for position, branch in enumerate(probed_rule.branches):
            held, failed, fault = self._outcome(branch, collects=rule.collects and position == 0)
            results.append(
                TriedRule(
                    rule=name,
                    line=branch.branch.line,
                    kind="else" if position else "rule",
                    held=held,
                    failed=failed,
                    fault=fault,
                    looked_at=self._looked_at(branch.branch.looks_at, module),
                )
            )
            if held or fault:
                break
        return results

    def adds_up(self) -> bool:
        """Tell whether each rule is defined exactly where a part of it held."""
        for path, rules in paths_of(self.marked.rules).items():
            if not rules[0].branches:
                continue
            value, fault = self._ask(rules[0].entrypoint)
            has_default = any(each.rule.is_default for each in rules)
            defined = fault is None and not (rules[0].rule.collects and not value)
            if fault in {None, Refusal.UNDEFINED} and defined != (self._another_held(path) or has_default):
                return False
        return True

    def decides(self, entrypoint: str, decision: Decision) -> bool:
        """Tell whether the bundle with probes decides what the one in force decided."""
        value, fault = self._ask(entrypoint)
        if not isinstance(value, dict) or fault is not None:
            return fault is None or str(fault) in decision.reasons
        refused = "policy_not_a_decision" in decision.reasons
        return refused or (value.get("allow") is decision.allow and value.get("obligations") == decision.obligations)

    def _outcome(self, branch: ProbedBranch, *, collects: bool) -> tuple[bool, str | None, str | None]:
        value, fault = self._ask(branch.value)
        if fault is None and not (collects and not value):
            return True, None, None
        if fault not in {None, Refusal.UNDEFINED}:
            return False, None, str(fault)
        for expression, beginning in zip(branch.branch.expressions, branch.beginnings, strict=False):
            if not self._holds(beginning):
                return False, expression, None
        if self._holds(branch.body) and branch.beginnings:
            return False, branch.branch.value, None
        return False, None, None

    def _holds(self, entrypoint: str) -> bool:
        value, fault = self._ask(entrypoint)
        return fault is None and value is not None

    def _another_held(self, path: Path) -> bool:
        """Tell whether a body of this rule held, its default aside."""
        if path not in self._held:
            self._held[path] = any(
                self._outcome(branch, collects=each.rule.collects)[0]
                for each in paths_of(self.marked.rules)[path]
                if not each.rule.is_default
                for branch in each.branches
            )
        return self._held[path]

    def _looked_at(self, looks_at: tuple[Reference, ...], module: Module) -> list[LookedAt]:
        known = {each.rule.path: [(module, each.rule)] for each in self.marked.rules if each.branches}
        found: dict[str, LookedAt] = {}
        for reference in looks_at:
            if reference.path[0] == "input":
                found.setdefault(reference.dotted, self._of_input(reference))
            elif len(paths := rules_meant(reference, module, known)) == 1:
                value, fault = self._ask("/".join(paths[0]))
                found.setdefault(paths[0][-1], _shown(paths[0][-1], value, present=fault is None))
        return list(found.values())

    def _of_input(self, reference: Reference) -> LookedAt:
        value = self.value
        for name in reference.path[1:]:
            if not isinstance(value, dict) or name not in value:
                return LookedAt(path=reference.dotted, present=False)
            value = value[name]
        return _shown(reference.dotted, value, present=True)

    def _ask(self, entrypoint: str) -> tuple[JsonValue, Refusal | None]:
        if entrypoint not in self._known:
            self._known[entrypoint] = self._asked(entrypoint)
        return self._known[entrypoint]

    def _asked(self, entrypoint: str) -> tuple[JsonValue, Refusal | None]:
        if monotonic() > self._deadline:
            self.ran_out = True
            return None, Refusal.TIMED_OUT
        try:
            return self.engine.evaluate_text(entrypoint, self.text), None
        except NoAnswer as refused:
            return None, refused.code

    def _module(self, file: str) -> Module:
        return next(module for module in self.marked.modules if module.file == file)


def _shown(path: str, value: JsonValue, *, present: bool) -> LookedAt:
    small = present and len(canonical_json(value).encode()) <= _SHOWN_BYTES
    return LookedAt(path=path, present=present, value=value if small else None)
