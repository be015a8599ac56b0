"""What every command has: where the mesh is, who one is, and how the answer is to be printed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from agent_mesh.client import (
    AUDIT,
    LOCAL_STACK,
    POLICY,
    RELAY,
    AuditClient,
    GoogleTokens,
    MeshClient,
    RelayClient,
    RoleClient,
    Stack,
    Target,
    TokenSource,
    find_target,
    function_target,
)

if TYPE_CHECKING:  # pydantic is there anyway, rich costs 40 ms that `--json` need not pay
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

_WIDTH_OF_A_PIPE = 200
_COMMAND = re.compile(r"agent-mesh (?!environments|login|logout)(?:(?:ledger|relay|policy|intent) )?[a-z][a-z-]*")


class _Address(NamedTuple):
    url: str
    audience: str
    tokens: TokenSource


@dataclass(frozen=True)
class Session:
    """One run of the command. Answers go to stdout, everything that is said on the way to stderr."""

    json: bool = False
    url: str | None = None
    audience: str | None = None
    identity: str | None = None
    environment: str | None = None

    @cached_property
    def target(self) -> Target | None:
        """The deployed mesh that is meant, None for the local stack; raises `EnvironmentUnknown`."""
        found = find_target(self.environment, url=self.url, audience=self.audience, account=self.identity)
        named = find_target(self.environment)
        if self.environment and found and (named is None or named.url != found.url):
            self.say(f"Going to {found.url}: a URL comes before the environment {self.environment}.")
        return found

    @cached_property
    def client(self) -> MeshClient:
        """The client of the mesh that is meant."""
        target = self.target
        if target is None:
            return MeshClient.from_stack(email=self.identity, audience=self.audience)
        return MeshClient(target.url, audience=target.audience, tokens=GoogleTokens(target.account))

    @cached_property
    def audit(self) -> AuditClient:
        """The client of the ledger that is meant."""
        address = self._address(AUDIT)
        return AuditClient(address.url, audience=address.audience, tokens=address.tokens)

    @cached_property
    def relay(self) -> RelayClient:
        """The client of the relay that is meant."""
        address = self._address(RELAY)
        return RelayClient(address.url, audience=address.audience, tokens=address.tokens)

    @cached_property
    def policy(self) -> RoleClient:
        """The client of the policy function that is meant."""
        address = self._address(POLICY)
        return RoleClient(address.url, audience=address.audience, tokens=address.tokens)

    def _address(self, role: str) -> _Address:
        """Where a function is that is not the orchestrator: `--url` and AGENT_MESH_URL are its own then."""
        if self.environment in {None, LOCAL_STACK} and self.url is None:
            function = self.stack.function(role)
            return _Address(function.url, self.audience or function.audience, self.stack.tokens(self.identity))
        target = function_target(role, self.environment, url=self.url, audience=self.audience, account=self.identity)
        return _Address(target.url, target.audience, GoogleTokens(target.account))

    @cached_property
    def stack(self) -> Stack:
        """The local stack; raises `StackNotFound`."""
        return Stack.read()

    @cached_property
    def out(self) -> Console:
        """Stdout, as wide as the terminal; a pipe gets whole lines."""
        return _console(stderr=False)

    @cached_property
    def err(self) -> Console:
        """Stderr."""
        return _console(stderr=True)

    def answer(self, model: BaseModel, *pretty: RenderableType) -> None:
        """Print the answer: as one JSON document, or as what is nicer to read."""
        if self.json:
            print(model.model_dump_json(by_alias=True, exclude_none=True, indent=2))  # noqa: T201  # stdout is for data
            return
        for part in pretty:
            self.out.print(part)

    def say(self, text: str) -> None:
        """Tell a person, not a program, how it goes."""
        if not self.json:
            self.err.print(self.addressed(text), markup=False, highlight=False)

    def addressed(self, text: str) -> str:
        """Return a text whose commands lead to the same mesh as this one, so that they can be copied."""
        if self.environment in {None, LOCAL_STACK}:
            return text
        return _COMMAND.sub(rf"\g<0> --env {self.environment}", text)

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show a person that something goes on, where there is a terminal."""
        if self.json or not sys.stderr.isatty():
            yield
            return
        with self.err.status(text):
            yield


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_OF_A_PIPE
    return Console(stderr=stderr, width=width, highlight=False, emoji=False, soft_wrap=False)
