"""The addresses of a running local stack, as `emulator` writes them to `.mesh/stack.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from agent_mesh.client._errors import StackNotFound, StackUnreadable
from agent_mesh.client._tokens import LocalTokens
from agent_mesh.client._transport import PooledTransport, Transport
from agent_mesh.contracts.values import Tolerant

STACK_FILE: Final = ".mesh/stack.json"


class StackFunction(Tolerant):
    """One function: where it answers, the audience its callers' tokens must have, and its log file."""

    url: str
    audience: str
    log: str = ""


class StackIssuer(Tolerant):
    """The local issuer of ID tokens."""

    url: str
    token_url: str


class StackBridge(Tolerant):
    """What pushes in place of Google's Pub/Sub emulator, where that one runs; `stats` is the URL of its counts."""

    stats: str


class Stack(Tolerant):
    """What `stack.json` says."""

    functions: dict[str, StackFunction]
    issuer: StackIssuer
    emulators: dict[str, str] = Field(default_factory=dict, description="Name to `host:port`.")
    bridge: StackBridge | None = None
    pid: int | None = None
    developer: str = Field(description="E-mail that a person on this machine acts as.")

    @classmethod
    def read(cls, path: str | Path = STACK_FILE) -> Stack:
        """Read the stack's file, found as `find` does."""
        found = cls.find(path)
        try:
            return cls.model_validate_json(found.read_bytes())
        except (OSError, ValidationError) as error:
            raise StackUnreadable(f"{found} is not what the local stack writes: {error}") from error

    def function(self, role: str) -> StackFunction:
        """Return one function of the stack; raise `StackUnreadable` with the roles that there are."""
        try:
            return self.functions[role]
        except KeyError:
            raise StackUnreadable(
                f"The local stack runs no {role!r}; it runs {', '.join(sorted(self.functions))}."
            ) from None

    def tokens(self, email: str | None = None, transport: Transport | None = None) -> LocalTokens:
        """Return the issuer's tokens for `email`, the developer's unless it is given."""
        return LocalTokens(self.issuer.token_url, email or self.developer, transport or PooledTransport())

    @staticmethod
    def find(path: str | Path = STACK_FILE) -> Path:
        """Return where a relative `path` exists, here or in the nearest folder above; raise `StackNotFound`."""
        here = Path.cwd()
        for folder in (here, *here.parents):
            candidate = folder / path
            if candidate.is_file():
                return candidate
        raise StackNotFound(f"No {path} in {here} or any folder above: no local stack is running here.")
