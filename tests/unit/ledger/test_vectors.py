"""The published vectors: transparency-dev, golang/mod and C2SP. Where they come from stands in their SOURCES.md."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_mesh.ledger import (
    LedgerError,
    leaf_hash,
    node_hash,
    parse_checkpoint,
    parse_note,
    parse_signing_key,
    parse_verifier_key,
    sign_note,
    tiles_of,
    tree_root,
    verify_consistency,
    verify_inclusion,
    verify_note,
)
from agent_mesh.ledger.keys import encode_base64
from agent_mesh.ledger.proofs import verify_subtree_consistency, verify_subtree_inclusion
from agent_mesh.ledger.tiles import index_path

VECTORS = Path(__file__).parents[2] / "data" / "ledger-vectors"
MERKLE = sorted((VECTORS / "merkle").rglob("*.json"))
HASHES: dict[str, Any] = json.loads((VECTORS / "rfc6962_and_tiles.json").read_text())
NOTES: list[dict[str, Any]] = json.loads((VECTORS / "signed_note.json").read_text())
CHECKPOINTS: list[dict[str, Any]] = json.loads((VECTORS / "checkpoint_body.json").read_text())


def described(case: object) -> str:
    return str(case["desc"]) if isinstance(case, dict) else str(case)


def value(text: str | None) -> bytes:
    return b64decode(text or "")


def inclusion(case: dict[str, Any], proof: list[bytes]) -> None:
    verify_inclusion(value(case["leafHash"]), case["leafIdx"], case["treeSize"], proof, value(case["root"]))


def consistency(case: dict[str, Any], proof: list[bytes]) -> None:
    verify_consistency(case["size1"], case["size2"], proof, value(case["root1"]), value(case["root2"]))


def subtree_inclusion(case: dict[str, Any], proof: list[bytes]) -> None:
    subtree = (case["start"], case["end"])
    verify_subtree_inclusion(value(case["leafHash"]), case["leafIdx"], subtree, proof, value(case["root"]))


def subtree_consistency(case: dict[str, Any], proof: list[bytes]) -> None:
    subtree = (case["start"], case["end"])
    verify_subtree_consistency(subtree, case["size"], proof, value(case["root1"]), value(case["root2"]))


VERIFIERS: dict[str, Callable[[dict[str, Any], list[bytes]], None]] = {
    "inclusion": inclusion,
    "consistency": consistency,
    "subtreeinclusion": subtree_inclusion,
    "subtreeconsistency": subtree_consistency,
}


def test_no_vector_is_missing() -> None:
    assert len(MERKLE) == 518


@pytest.mark.parametrize("path", MERKLE, ids=lambda path: str(path.relative_to(VECTORS / "merkle")))
def test_a_proof_is_accepted_or_refused_as_published(path: Path) -> None:
    case = json.loads(path.read_text())
    verify = VERIFIERS[path.relative_to(VECTORS / "merkle").parts[0]]
    proof = [value(text) for text in case["proof"] or []]
    if case["wantErr"]:
        with pytest.raises(LedgerError):
            verify(case, proof)
    else:
        verify(case, proof)


@pytest.mark.parametrize("case", HASHES["hashes"], ids=described)
def test_a_hash_is_the_published_one(case: dict[str, Any]) -> None:
    if "left" in case:
        found = node_hash(case["left"].encode(), case["right"].encode())
    elif "leaf" in case:
        found = leaf_hash(case["leaf"].encode())
    else:
        found = tree_root([])
    assert found.hex() == case["hex"]


@pytest.mark.parametrize("case", HASHES["tile_paths"], ids=lambda case: case["path"])
def test_a_tiles_index_is_written_as_published(case: dict[str, Any]) -> None:
    assert index_path(case["index"]) == case["path"]


def test_a_tree_has_the_published_tiles() -> None:
    counts = HASHES["tile_counts"]
    tiles = list(tiles_of(counts["size"]))
    full = {level: sum(tile.level == level and tile.width == 256 for tile in tiles) for level in range(3)}
    partial = {tile.level: tile.width for tile in tiles if tile.level is not None and tile.width < 256}
    assert full == {0: counts["full_l0"], 1: counts["full_l1"], 2: 0}
    assert partial == {0: counts["partial_l0"], 1: counts["partial_l1"], 2: counts["partial_l2"]}


@pytest.mark.parametrize("case", [case for case in NOTES if case["op"] == "sign"], ids=described)
def test_a_note_is_signed_as_published(case: dict[str, Any]) -> None:
    assert str(sign_note(case["text"], parse_signing_key(case["skey"]))) == case["want"]


@pytest.mark.parametrize("case", [case for case in NOTES if case["op"] == "open"], ids=described)
def test_a_note_is_opened_or_refused_as_published(case: dict[str, Any]) -> None:
    keys = [parse_verifier_key(text) for text in case["vkeys"]]
    if not case["ok"]:
        with pytest.raises(LedgerError):
            verify_note(parse_note(case["note"]), keys)
        return
    note = parse_note(case["note"])
    signed = verify_note(note, keys)
    assert (len(signed), len(note.signatures) - len(signed)) == (case["verified"], case["unverified"])
    assert str(note) == case["note"]


@pytest.mark.parametrize("case", [case for case in NOTES if case["op"] == "vkey"], ids=described)
def test_a_verifier_key_is_taken_or_refused_as_published(case: dict[str, Any]) -> None:
    if case["ok"]:
        assert str(parse_verifier_key(case["vkey"])) == case["vkey"]
    else:
        with pytest.raises(LedgerError):
            parse_verifier_key(case["vkey"])


@pytest.mark.parametrize("case", CHECKPOINTS, ids=described)
def test_a_checkpoint_is_read_or_refused_as_published(case: dict[str, Any]) -> None:
    if not case["ok"]:
        with pytest.raises(LedgerError):
            parse_checkpoint(case["body"])
        return
    checkpoint = parse_checkpoint(case["body"])
    rest = "".join(f"{line}\n" for line in checkpoint.extensions)
    found = {"origin": checkpoint.origin, "size": checkpoint.size, "hash": encode_base64(checkpoint.root), "rest": rest}
    assert found == case["want"]
    assert checkpoint.text == case["body"]
