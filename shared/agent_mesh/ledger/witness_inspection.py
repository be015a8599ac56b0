"""Reads again what witnesses have cosigned, for `fsck`."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from agent_mesh.ledger.azure_ledger import AZURE, check_anchor
from agent_mesh.ledger.checkpoints import open_checkpoint
from agent_mesh.ledger.cosigned import COSIGNED, Cosigned, CosignedStore
from agent_mesh.ledger.errors import LedgerError, Unsigned
from agent_mesh.ledger.fsck import Finding
from agent_mesh.ledger.growth import nodes_from_tiles
from agent_mesh.ledger.keys import VerifierKey
from agent_mesh.ledger.notes import Note, verify_note
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.ledger.tree import CompactRange, cover


def inspect_cosigned(
    store: LedgerStore, kept: CosignedStore, log_key: VerifierKey, witnesses: Collection[VerifierKey]
) -> Iterator[Finding]:
    """Yield what is not as the log, its witnesses and other ledgers have signed it, or is of another tree."""
    try:
        found = kept.read()
        if found.note is not None:
            _check_tree(store, found.note, log_key)
            _check_signatures(found.note, log_key, witnesses)
    except LedgerError as error:
        yield Finding(COSIGNED, str(error))
        return
    yield from _anchor_findings(found, log_key)


def _check_tree(store: LedgerStore, note: Note, log_key: VerifierKey) -> None:
    checkpoint = open_checkpoint(note, log_key)
    size = store.head().tree.end
    if checkpoint.size > size:
        raise Unsigned(f"witnesses have cosigned {checkpoint.size} entries, and there are only {size}")
    node = nodes_from_tiles(checkpoint.size, store.read)
    tree = CompactRange(0, checkpoint.size, tuple(node(level, index) for level, index in cover(0, checkpoint.size)))
    if tree.root != checkpoint.root:
        raise Unsigned("witnesses have cosigned another tree than the one of the entries")


def _check_signatures(note: Note, log_key: VerifierKey, witnesses: Collection[VerifierKey]) -> None:
    """A signature of nobody who is asked cannot be checked: it was changed, or is of one who was asked before."""
    keys = [log_key, *witnesses]
    verify_note(note, keys)
    for signature in note.signatures:
        if not any(signature.names(key) for key in keys):
            raise Unsigned(f"there is a signature under the name {signature.name!r}, and of no witness that is asked")


def _anchor_findings(found: Cosigned, log_key: VerifierKey) -> Iterator[Finding]:
    for name, anchor in found.anchors.items():
        try:
            if name != AZURE:
                raise Unsigned("no other ledger of this name is known")
            check_anchor(anchor, log_key)
        except LedgerError as error:
            yield Finding(f"{COSIGNED}, {name}", str(error))
