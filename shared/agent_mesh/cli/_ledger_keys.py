"""Which key a ledger has: the one that is given, the one that was remembered, or, at first use, its own word.

Remembered keys stand in `ledger-keys.json` beside the environments. A key that a ledger gives itself proves only that
it stays the same from then on, so it is said aloud whenever one is remembered.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from agent_mesh.cli._failures import LedgerRefused
from agent_mesh.cli._input import read_text, wrong
from agent_mesh.cli._session import Session
from agent_mesh.client import LOCAL_STACK, environments_file
from agent_mesh.ledger.errors import LedgerError, MalformedKey
from agent_mesh.ledger.keys import VerifierKey, parse_verifier_key
from agent_mesh.ledger.notes import parse_note
from agent_mesh.ledger.witnesses import WitnessQuorum

_SHOWN_BY: Final = "a local one's is shown by: agent-mesh ledger checkpoint"


class KnownKeys(BaseModel):
    """What the file holds: a ledger's name to its key."""

    model_config = ConfigDict(strict=True)

    keys: dict[str, str] = {}

    @classmethod
    def read(cls) -> KnownKeys:
        """Return what is remembered, nothing where there is no file."""
        try:
            return cls.model_validate_json(keys_file().read_bytes())
        except FileNotFoundError:
            return cls()
        except (OSError, ValidationError) as error:
            raise wrong("--key", f"is not given, and {keys_file()} cannot be read: {error}") from error

    def write(self) -> None:
        """Replace the file at once."""
        path = keys_file()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, self.model_dump_json(indent=2) + "\n")


def keys_file() -> Path:
    """Return where keys are remembered."""
    return environments_file().with_name("ledger-keys.json")


def write_whole(path: Path, text: str) -> None:
    """Replace a file, readable by its owner alone; whatever happens, it is the old one or the new one."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def given_key(text: str, option: str) -> VerifierKey:
    """Return the key that an option gives: a line `name+id+key`, or a file with one."""
    line = text.strip() if "+" in text else read_text(text, option).strip()
    try:
        return parse_verifier_key(line)
    except MalformedKey as error:
        raise wrong(option, str(error)) from error


def given_quorum(witnesses: list[str], needed: int | None) -> WitnessQuorum | None:
    """Return the witnesses that options name, all of which are needed unless it is said how many."""
    if not witnesses:
        if needed:
            raise wrong("--quorum", "is given without --witness")
        return None
    try:
        keys = tuple(given_key(text, "--witness") for text in witnesses)
        return WitnessQuorum(keys, needed or len(keys))
    except MalformedKey as error:
        raise wrong("--witness", str(error)) from error


def remembered_key(checkpoint: str) -> VerifierKey:
    """Return the key that is remembered for the ledger of a checkpoint."""
    origin = _origin(checkpoint)
    line = KnownKeys.read().keys.get(origin)
    if line is None:
        raise wrong("--key", f"is not given, and no key is remembered for the ledger {origin!r}; {_SHOWN_BY}")
    return _parsed(origin, line)


def key_of_ledger(session: Session, key: str | None, checkpoint: str) -> VerifierKey:
    """Return the key that is given, or remembered; at first use remember the one that the ledger gives."""
    if key is not None:
        return given_key(key, "--key")
    if session.environment in {None, LOCAL_STACK} and session.url is None:
        return _own_word(session)  # a local ledger is a new one with every new stack
    origin, known = _origin(checkpoint), KnownKeys.read()
    if origin in known.keys:
        return _parsed(origin, known.keys[origin])
    found = _own_word(session)
    if found.name != origin:
        raise LedgerRefused("wrong_origin", f"the ledger {origin!r} gives a key of {found.name!r}")
    KnownKeys(keys={**known.keys, origin: str(found)}).write()
    session.say(
        f"First use of the ledger {origin}: its own word for its key is remembered in {keys_file()}.\n"
        f"{found}\nCompare it with the key that its operator published elsewhere."
    )
    return found


def refusal(error: LedgerError) -> LedgerRefused:
    """Return the error of a command for what the ledger's own code refuses."""
    return LedgerRefused(error.code, f"{error}.")


def json_object(text: str) -> Mapping[str, object] | None:
    """Return the JSON object that a text is, None if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _own_word(session: Session) -> VerifierKey:
    try:
        return parse_verifier_key(session.audit.key())
    except MalformedKey as error:
        raise refusal(error) from error


def _origin(checkpoint: str) -> str:
    try:
        return parse_note(checkpoint).text.partition("\n")[0]
    except LedgerError as error:
        raise refusal(error) from error


def _parsed(origin: str, line: str) -> VerifierKey:
    try:
        return parse_verifier_key(line)
    except MalformedKey as error:
        raise wrong("--key", f"is not given, and the key remembered for {origin!r} is none: {error}") from error
