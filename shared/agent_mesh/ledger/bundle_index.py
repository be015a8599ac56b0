"""What a bundle's document can be found by: digests of its entries' ids and transactions, one of each an entry.

They stand in the order of the entries, so that where a digest stands is where its entry stands. A digest is 16 bytes:
256 of both kinds fit beside the largest bundle into one document, and 128 bits are not hit by chance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent_mesh.ledger.bundles import decode_entries
from agent_mesh.ledger.errors import MalformedEntry

DIGEST_BYTES: Final = 16


@dataclass(frozen=True)
class BundleIndex:
    """Digests of the ids and of the transactions of a bundle's entries, in their order."""

    entry_ids: tuple[bytes, ...]
    tx_ids: tuple[bytes, ...]


def digest_of(name: str) -> bytes:
    """Return the digest by which an entry's id, or the id of its transaction, is found."""
    return hashlib.sha256(name.encode()).digest()[:DIGEST_BYTES]


def index_of(bundle: bytes) -> BundleIndex:
    """Return by what a bundle is found.

    Raises:
        MalformedTile: it is no bundle.
        MalformedEntry: an entry has no id or no transaction.
    """
    named = [_names(leaf) for leaf in decode_entries(bundle)]
    return BundleIndex(
        tuple(digest_of(entry_id) for entry_id, _ in named), tuple(digest_of(tx_id) for _, tx_id in named)
    )


def _names(leaf: bytes) -> tuple[str, str]:
    """Read two fields and check nothing else: the ledger's own entries were checked before they came in."""
    try:
        fields = json.loads(leaf)
    except (ValueError, RecursionError) as error:
        raise MalformedEntry(f"the entry is not JSON ({type(error).__name__})") from None
    names = (fields.get("id"), fields.get("tx_id")) if isinstance(fields, Mapping) else (None, None)
    if not isinstance(names[0], str) or not isinstance(names[1], str):
        raise MalformedEntry("the entry has no id or no tx_id")
    return names[0], names[1]
