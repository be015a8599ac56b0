"""Reads ``infra/roles.json``: which functions, topics, subscriptions and schedules there are.

Unknown fields are left to the deployment, which reads the same file, unless they look like
a misspelling of a known one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from emulator.delivery.filters import parse_filter
from emulator.errors import FilterError, TopologyError
from emulator.identities import Identities, Reference

_Name = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=1)]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_BackoffSeconds = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]
_Path = Annotated[str, Field(pattern=r"^/")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelling(cls, given: object) -> object:
        known = [to_camel(name) for name in cls.model_fields]
        for name in given if isinstance(given, dict) else ():
            close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.8)
            if name not in {*known, *cls.model_fields} and close:
                message = f"unknown field {name!r}, did you mean {close[0]!r}?"
                raise ValueError(message)
        return given


class Role(_Part):
    """One function: where its code is and how it runs."""

    source: _Name
    entry_point: _Name
    concurrency: _Count
    timeout_seconds: _Count = 300
    allow: Mapping[str, list[Reference]] = Field(default_factory=dict)
    environment: Mapping[str, str] = Field(default_factory=dict)


class Agent(_Part):
    """An agent: which role runs it and what one run may cost."""

    role: _Name
    max_cost_cents: Annotated[int, Field(ge=0)]


class Push(_Part):
    """Where a subscription delivers."""

    role: _Name
    path: _Path


class Retry(_Part):
    """Exponential backoff between deliveries, in seconds."""

    minimum_backoff_seconds: _BackoffSeconds
    maximum_backoff_seconds: _BackoffSeconds

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.minimum_backoff_seconds > self.maximum_backoff_seconds:
            raise ValueError("minimumBackoffSeconds is more than maximumBackoffSeconds")
        return self


class DeadLetter(_Part):
    """Where a message goes after this many deliveries."""

    topic: _Name
    max_delivery_attempts: Annotated[int, Field(ge=5, le=100)]


class Subscription(_Part):
    """A push subscription, within the limits of https://cloud.google.com/pubsub/docs/subscription-properties."""

    topic: _Name
    filter: str = ""
    push: Push
    ack_deadline_seconds: Annotated[int, Field(ge=10, le=600)]
    retry: Retry
    dead_letter: DeadLetter | None = None
    message_retention_seconds: Annotated[int, Field(ge=600, le=31 * 86400)] = 7 * 86400
    ordering: bool = False


class Parked(_Part):
    """A subscription that nobody is called for: what arrives waits for an operator."""

    topic: _Name
    message_retention_seconds: Annotated[int, Field(ge=600, le=31 * 86400)]


class Schedule(_Part):
    """A path of a role that is called at an interval."""

    role: _Name
    path: _Path
    every_seconds: _Seconds


class LocalInterval(_Part):
    """The interval of a schedule in the local stack, in seconds."""

    every_seconds: _Seconds


class Local(_Part):
    """What differs from the deployment in the local stack."""

    retry: Retry | None = None
    schedules: Mapping[str, LocalInterval] = Field(default_factory=dict)
    environment: Mapping[str, str] = Field(default_factory=dict)
    developer_may_push: bool = False
    """The developer may call what subscriptions push to, so that a push can be tried with curl."""


class Topology(_Part):
    """The whole roles file."""

    roles: Mapping[str, Role]
    agents: Mapping[str, Agent] = Field(default_factory=dict)
    topics: list[_Name] = Field(default_factory=list)
    subscriptions: Mapping[str, Subscription] = Field(default_factory=dict)
    parked: Mapping[str, Parked] = Field(default_factory=dict)
    schedules: Mapping[str, Schedule] = Field(default_factory=dict)
    local: Local = Field(default_factory=Local)

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        problems = [*_reference_problems(self), *_allow_problems(self), *_filter_problems(self)]
        if problems:
            raise ValueError(problems[0])
        return self

    def retry(self, subscription: str) -> Retry:
        """The backoff of this subscription here: the local override, else its own."""
        return self.local.retry or self.subscriptions[subscription].retry

    def interval(self, schedule: str) -> float:
        """Seconds between two calls of this schedule here."""
        override = self.local.schedules.get(schedule)
        return override.every_seconds if override else self.schedules[schedule].every_seconds

    def allow_lists(self, role: str, identities: Identities) -> dict[str, str]:
        """The role's allow-list variables, each a list of emails joined by commas."""
        allow = self.roles[role].allow
        return {name: ",".join(map(identities.resolve, self._callers(given))) for name, given in allow.items()}

    def _callers(self, references: Sequence[str]) -> list[str]:
        pushed = any(reference.startswith("subscription:") for reference in references)
        here = [reference for reference in references if reference not in {"callers", "viewers"}]
        return [*here, "developer"] if pushed and self.local.developer_may_push else here

    def chosen(self, only: Iterable[str]) -> list[str]:
        """The roles to run: all, or the named ones. Raises TopologyError for an unknown one."""
        names = list(only) or list(self.roles)
        for name in names:
            if name not in self.roles:
                message = f"there is no role {name!r}; there are {', '.join(self.roles)}"
                raise TopologyError(message)
        return names


def load_topology(path: Path) -> Topology:
    """Read and check a roles file.

    Raises TopologyError, whose message names the file, the path inside it and what is wrong.
    """
    try:
        return Topology.model_validate_json(path.read_bytes())
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise TopologyError(message) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        message = f"{path}: {place}: {said}" if place else f"{path}: {said}"
        raise TopologyError(message) from error


_UNKNOWN: Final = "{place}: there is no {kind} {name!r}; there are {known}"


def _reference_problems(topology: Topology) -> Iterable[str]:
    roles, topics = list(topology.roles), topology.topics
    asked = [
        *((f"agents.{n}.role", "role", a.role, roles) for n, a in topology.agents.items()),
        *((f"schedules.{n}.role", "role", s.role, roles) for n, s in topology.schedules.items()),
        *((f"local.schedules.{n}", "schedule", n, list(topology.schedules)) for n in topology.local.schedules),
    ]
    asked += [(f"parked.{name}.topic", "topic", parked.topic, topics) for name, parked in topology.parked.items()]
    for name, subscription in topology.subscriptions.items():
        place = f"subscriptions.{name}"
        asked.append((f"{place}.topic", "topic", subscription.topic, topics))
        asked.append((f"{place}.push.role", "role", subscription.push.role, roles))
        if subscription.dead_letter:
            asked.append((f"{place}.deadLetter.topic", "topic", subscription.dead_letter.topic, topics))
    for place, kind, name, known in asked:
        if name not in known:
            yield _UNKNOWN.format(place=place, kind=kind, name=name, known=", ".join(known) or "none")


def _allow_problems(topology: Topology) -> Iterable[str]:
    known = {
        "role": list(topology.roles),
        "subscription": list(topology.subscriptions),
        "schedule": list(topology.schedules),
    }
    for role, function in topology.roles.items():
        for variable, references in function.allow.items():
            for index, reference in enumerate(references):
                kind, _, name = reference.partition(":")
                place = f"roles.{role}.allow.{variable}.{index}"
                if name and name not in known[kind]:
                    shown = ", ".join(known[kind]) or "none"
                    yield _UNKNOWN.format(place=place, kind=kind, name=name, known=shown)


def _filter_problems(topology: Topology) -> Iterable[str]:
    for name, subscription in topology.subscriptions.items():
        try:
            parse_filter(subscription.filter)
        except FilterError as error:
            yield f"subscriptions.{name}.filter: {error}"
