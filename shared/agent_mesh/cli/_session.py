"""What every command has: where the mesh is, who one is, and how the answer is to be printed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from agent_mesh.client import GoogleTokens, MeshClient, Stack

if TYPE_CHECKING:  # pydantic is there anyway, rich costs 40 ms that `--json` need not pay
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

_WIDTH_OF_A_PIPE = 200


@dataclass(frozen=True)
class Session:
    """One run of the command. Answers go to stdout, everything that is said on the way to stderr."""

    json: bool = False
    url: str | None = None
    audience: str | None = None
    identity: str | None = None

    @cached_property
    def client(self) -> MeshClient:
        """The client of the mesh that is meant: the named one, else the local stack's."""
        if self.url is None:
            return MeshClient.from_stack(email=self.identity, audience=self.audience)
        return MeshClient(self.url, audience=self.audience, tokens=GoogleTokens(self.identity or ""))

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
            self.err.print(text, markup=False, highlight=False)

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
