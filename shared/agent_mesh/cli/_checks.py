"""One thing that was looked at, and how it is shown: for `doctor` and for `login`."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

if TYPE_CHECKING:
    from rich.text import Text

_SKEW_ALLOWED_S: Final = 10.0  # what token verification lets pass
_NAME_WIDTH: Final = 14
_INDENT: Final = 6 + _NAME_WIDTH


class Check(BaseModel):
    """One thing that was looked at; `next` says what to do when it is not `ok`."""

    name: str
    ok: bool
    detail: str
    next: str = ""


class Diagnosis(BaseModel):
    """All checks."""

    ok: bool
    checks: list[Check]


def clock_check(date: str) -> Check:
    """Return whether this machine's clock agrees with the `Date` header of an answer that has just come."""
    try:
        skew = time.time() - parsedate_to_datetime(date).timestamp()
    except (OverflowError, ValueError):
        return Check(
            name="clock", ok=False, detail=f"no date can be read from {date!r}", next="What is it that answers?"
        )
    detail = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the orchestrator's"
    return Check(name="clock", ok=abs(skew) <= _SKEW_ALLOWED_S, detail=detail, next="Set this machine's clock by NTP.")


def check_lines(checks: Iterable[Check], width: int) -> Iterator[Text]:
    """Yield the checks as lines of at most `width` characters, long words excepted: commands are there to be copied."""
    from rich.text import Text

    from agent_mesh.cli._text import printable

    for check in checks:
        mark = ("ok  ", "green") if check.ok else ("fail", "bold red")
        detail = hanging(printable(check.detail), width, _INDENT)
        yield Text.assemble(mark, (f"  {check.name:<{_NAME_WIDTH}}", "bold"), detail)
        if not check.ok:
            yield Text(f"{'':{_INDENT}}→ {hanging(check.next, width, _INDENT + 2)}", "cyan")


def hanging(text: str, width: int, indent: int) -> str:
    """Return text that begins in column `indent` and goes on there on every further line."""
    lines = textwrap.wrap(text, max(width - indent, 20), break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * indent).join(lines)
