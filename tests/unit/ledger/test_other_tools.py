"""Go's checksum database is another implementation of notes, trees and proofs: what it makes, this one makes too.

`examples/verify_ledger/main.go -vectors` wrote the file, with golang.org/x/mod 0.7.0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_mesh.ledger import (
    Checkpoint,
    consistency_proof,
    inclusion_proof,
    nodes_from_leaves,
    nodes_from_tiles,
    open_checkpoint,
    parse_note,
    parse_signing_key,
    parse_verifier_key,
    sign_note,
    tree_root,
    verifier_key,
    verify_consistency,
    verify_inclusion,
)
from agent_mesh.ledger.keys import encode_base64
from tests.unit.ledger.small_log import SmallLog, entries_up_to, leaves_up_to

FILE = Path(__file__).parents[2] / "data" / "ledger-vectors" / "go-tlog.json"
GO: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
LEAVES = leaves_up_to(600)
LOG = SmallLog()
LOG.append(entries_up_to(600))


def base64_of(hashes: list[bytes]) -> list[str]:
    return [encode_base64(each) for each in hashes]


@pytest.mark.parametrize("size", [int(size) for size in GO["roots"]])
def test_a_tree_has_the_root_that_go_computes_and_a_checkpoint_is_the_same_note(size: int) -> None:
    root = tree_root(LEAVES[:size])
    assert encode_base64(root) == GO["roots"][str(size)]
    signer, key = parse_signing_key(GO["skey"]), parse_verifier_key(GO["vkey"])
    assert verifier_key(signer) == key
    assert str(sign_note(Checkpoint(signer.name, size, root).text, signer)) == GO["notes"][str(size)]
    assert open_checkpoint(parse_note(GO["notes"][str(size)]), key) == Checkpoint(key.name, size, root)


@pytest.mark.parametrize("case", GO["inclusion"], ids=lambda case: f"{case['index']}-{case['size']}")
def test_an_inclusion_proof_is_the_one_that_go_makes(case: dict[str, Any]) -> None:
    index, size = case["index"], case["size"]
    for node in (nodes_from_leaves(LEAVES[:size]), nodes_from_tiles(size, LOG.read)):
        proof = inclusion_proof(node, index, size)
        assert base64_of(proof) == case["proof"]
        verify_inclusion(LEAVES[index], index, size, proof, tree_root(LEAVES[:size]))


@pytest.mark.parametrize("case", GO["consistency"], ids=lambda case: f"{case['old']}-{case['new']}")
def test_a_consistency_proof_is_the_one_that_go_makes(case: dict[str, Any]) -> None:
    old, new = case["old"], case["new"]
    for node in (nodes_from_leaves(LEAVES[:new]), nodes_from_tiles(new, LOG.read)):
        proof = consistency_proof(node, old, new)
        assert base64_of(proof) == case["proof"]
        verify_consistency(old, new, proof, tree_root(LEAVES[:old]), tree_root(LEAVES[:new]))
