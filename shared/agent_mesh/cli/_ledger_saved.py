"""What `ledger fsck --since FILE` keeps: how far earlier runs came without a finding, and what they saw signed."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_mesh.cli._input import read_text, wrong
from agent_mesh.cli._ledger_keys import write_whole
from agent_mesh.ledger.checkpoints import Checkpoint, open_checkpoint
from agent_mesh.ledger.errors import LedgerError
from agent_mesh.ledger.keys import VerifierKey, decode_base64, encode_base64
from agent_mesh.ledger.notes import parse_note
from agent_mesh.ledger.tiles import TILE_WIDTH
from agent_mesh.ledger.tree import CompactRange

_MOST_CHECKPOINTS: Final = 100


class SavedWalk(BaseModel):
    """The file. Its checkpoints are verified each time that it is read; its tree is checked against the tiles."""

    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal["agent-mesh-fsck/v1"] = "agent-mesh-fsck/v1"
    checkpoints: list[str] = Field(max_length=_MOST_CHECKPOINTS)
    end: int = Field(default=0, ge=0, multiple_of=TILE_WIDTH)
    hashes: list[str] = []

    @property
    def tree(self) -> CompactRange:
        """What was read. Raises `LedgerError` for what is no tree."""
        return CompactRange(0, self.end, tuple(decode_base64(each) or b"" for each in self.hashes))

    def signed(self, key: VerifierKey) -> list[Checkpoint]:
        """Return the checkpoints that were seen. Raises `LedgerError` if the key has not signed one of them."""
        return [open_checkpoint(parse_note(each), key) for each in self.checkpoints]


def read_saved(file: str | None) -> SavedWalk:
    """Return what earlier runs have seen: nothing, where there is no file yet."""
    if file is None or not Path(file).exists():
        return SavedWalk(checkpoints=[])
    try:
        saved = SavedWalk.model_validate_json(read_text(file, "--since"))
        _ = saved.tree
    except (ValidationError, LedgerError) as error:
        raise wrong("--since", f"is not what `ledger fsck` writes: {error}") from error
    return saved


class Keeper:
    """Writes how far a walk came."""

    def __init__(self, file: str | None, before: SavedWalk, newest: str) -> None:
        """Write to `file`; `newest` is the signed checkpoint that the walk goes to."""
        self._path = None if file is None else Path(file).absolute()
        older = [each for each in before.checkpoints if each != newest]
        self._checkpoints = [*older[1 - _MOST_CHECKPOINTS :], newest]

    def on_the_way(self, tree: CompactRange) -> None:
        """Keep what the walk has read, up to the end of a bundle, and all checkpoints that may lie ahead."""
        self._write(tree, self._checkpoints)

    def at_the_end(self, tree: CompactRange) -> None:
        """Keep the last whole bundle; what was seen before is part of the newest checkpoint now."""
        self._write(tree, self._checkpoints[-1:])

    def _write(self, tree: CompactRange, checkpoints: list[str]) -> None:
        if self._path is None:
            return
        saved = SavedWalk(checkpoints=checkpoints, end=tree.end, hashes=[encode_base64(each) for each in tree.hashes])
        try:
            write_whole(self._path, saved.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise wrong("--since", f"cannot be written: {error}") from error
