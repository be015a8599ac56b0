"""What tiles and entry bundles hold, as bytes: hashes one after the other; entries with a length of two bytes each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_mesh.ledger.errors import MalformedEntry, MalformedTile
from agent_mesh.ledger.tiles import TILE_WIDTH
from agent_mesh.ledger.tree import HASH_BYTES

_LENGTH_BYTES: Final = 2
MAX_ENTRY_BYTES: Final = (1 << 8 * _LENGTH_BYTES) - 1


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Return entries as a bundle.

    Raises:
        MalformedEntry: an entry is too long for its length.
        MalformedTile: they are none, or more than a bundle has.
    """
    _check_width(len(entries))
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise MalformedEntry(f"an entry of a bundle has at most {MAX_ENTRY_BYTES} bytes")
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)


def decode_entries(bundle: bytes) -> list[bytes]:
    """Return the entries of a bundle.

    Raises:
        MalformedTile: a length does not fit, or there are none or too many entries.
    """
    entries, at = list[bytes](), 0
    while at < len(bundle):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(bundle[at:begin], "big")
        if begin > len(bundle) or at > len(bundle):
            raise MalformedTile(f"the bundle ends within its entry {len(entries)}")
        entries.append(bundle[begin:at])
    _check_width(len(entries))
    return entries


def entries_end(bundle: bytes, width: int) -> int:
    """Return where the first `width` entries of a bundle end, in bytes.

    Raises:
        MalformedTile: it has fewer, or a length does not fit.
    """
    at = 0
    for number in range(width):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(bundle[at:begin], "big")
        if begin > len(bundle) or at > len(bundle):
            raise MalformedTile(f"the bundle ends within its entry {number}")
    return at


def encode_hashes(hashes: Sequence[bytes]) -> bytes:
    """Return hashes as a tile.

    Raises:
        MalformedTile: they are none, more than a tile has, or not of a hash's length.
    """
    _check_width(len(hashes))
    if any(len(value) != HASH_BYTES for value in hashes):
        raise MalformedTile(f"every hash of a tile has {HASH_BYTES} bytes")
    return b"".join(hashes)


def decode_hashes(tile: bytes) -> list[bytes]:
    """Return the hashes of a tile.

    Raises:
        MalformedTile: it does not consist of 1 to 256 hashes.
    """
    if len(tile) % HASH_BYTES:
        raise MalformedTile(f"a tile of {len(tile)} bytes does not consist of hashes of {HASH_BYTES}")
    hashes = [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]
    _check_width(len(hashes))
    return hashes


def _check_width(width: int) -> None:
    if not 1 <= width <= TILE_WIDTH:
        raise MalformedTile(f"a tile or bundle has 1 to {TILE_WIDTH} hashes or entries, not {width}")
