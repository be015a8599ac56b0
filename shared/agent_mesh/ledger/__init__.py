"""The ledger's core: a Merkle tree in tiles, signed checkpoints, and receipts that anybody can verify offline.

Everything here is a function of values; the database stands in `store` and `sequencer`, imported where they are used.
It follows RFC 9162 for the tree and its proofs, and C2SP's tlog-tiles, signed-note, tlog-checkpoint and
tlog-cosignature for what is kept and sent, so that other people's tools can read it.
"""

from __future__ import annotations

from agent_mesh.ledger.checkpoints import Checkpoint, open_checkpoint, parse_checkpoint
from agent_mesh.ledger.entries import AuditEntry, LedgerLeaf, PayloadDigest, check_payload, parse_entry, to_leaf
from agent_mesh.ledger.errors import LedgerError
from agent_mesh.ledger.fsck import Finding, StoredLedger, check_ledger
from agent_mesh.ledger.growth import Growth, TileReader, grow, nodes_from_leaves, nodes_from_tiles
from agent_mesh.ledger.keys import KeyKind, VerifierKey, parse_verifier_key
from agent_mesh.ledger.notes import Note, NoteSignature, parse_note, verify_note
from agent_mesh.ledger.proofs import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from agent_mesh.ledger.receipts import Receipt, Verified, parse_receipt, verify_receipt
from agent_mesh.ledger.signers import (
    LocalSigner,
    Signer,
    cosign_note,
    open_key_file,
    parse_signing_key,
    sign_note,
    verifier_key,
)
from agent_mesh.ledger.tiles import Tile, parse_tile_path, tiles_of, touched
from agent_mesh.ledger.tree import CompactRange, leaf_hash, node_hash, tree_root
from agent_mesh.ledger.witnesses import WitnessQuorum

__all__ = [
    "AuditEntry",
    "Checkpoint",
    "CompactRange",
    "Finding",
    "Growth",
    "KeyKind",
    "LedgerError",
    "LedgerLeaf",
    "LocalSigner",
    "Note",
    "NoteSignature",
    "PayloadDigest",
    "Receipt",
    "Signer",
    "StoredLedger",
    "Tile",
    "TileReader",
    "Verified",
    "VerifierKey",
    "WitnessQuorum",
    "check_ledger",
    "check_payload",
    "consistency_proof",
    "cosign_note",
    "grow",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "nodes_from_leaves",
    "nodes_from_tiles",
    "open_checkpoint",
    "open_key_file",
    "parse_checkpoint",
    "parse_entry",
    "parse_note",
    "parse_receipt",
    "parse_signing_key",
    "parse_tile_path",
    "parse_verifier_key",
    "sign_note",
    "tiles_of",
    "to_leaf",
    "touched",
    "tree_root",
    "verifier_key",
    "verify_consistency",
    "verify_inclusion",
    "verify_note",
    "verify_receipt",
]
