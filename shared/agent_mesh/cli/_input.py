"""What an option brings in: the text of a file, and the error when it cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

from agent_mesh.client import RequestInvalid
from agent_mesh.contracts.problems import FieldFault


def read_text(file: str, option: str) -> str:
    """Return the text of a file, of stdin for `-`; raise `RequestInvalid` that names the option."""
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(option, f"cannot be read: {error}") from error


def wrong(option: str, message: str) -> RequestInvalid:
    """Return the error for an option that is not used as it must be."""
    return RequestInvalid([FieldFault(field=option, message=message)])
