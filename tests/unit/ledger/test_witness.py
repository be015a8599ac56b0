"""A witness cosigns what continues all that it cosigned before, and nothing else, whenever it was restarted."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.ledger import (
    Checkpoint,
    KeyKind,
    LocalSigner,
    Note,
    consistency_proof,
    nodes_from_leaves,
    parse_note,
    sign_note,
    tree_root,
    verifier_key,
    verify_note,
)
from agent_mesh.ledger.cosignatures import cosigned_at
from agent_mesh.ledger.submissions import SIZE_CONTENT_TYPE, Submission
from agent_mesh.ledger.witness import Witness, WitnessAnswer, WitnessFolder
from tests.unit.ledger.small_log import ORIGIN, leaves_up_to

LOG = LocalSigner(ORIGIN, bytes(32))
WITNESS = LocalSigner("witness.example/w1", bytes([1]) * 32)
KEY = verifier_key(WITNESS, KeyKind.COSIGNATURE)
NOW = 1_795_000_000
LEAVES = leaves_up_to(40)
OTHER = [*LEAVES[:3], bytes(32), *LEAVES[4:]]


def checkpoint(size: int, leaves: list[bytes] = LEAVES, signer: LocalSigner = LOG) -> Note:
    return sign_note(Checkpoint(signer.name, size, tree_root(leaves[:size])).text, signer)


def submission(old: int, size: int, leaves: list[bytes] = LEAVES) -> bytes:
    proof = consistency_proof(nodes_from_leaves(leaves[:size]), old, size) if 0 < old <= size else []
    return Submission(old, tuple(proof), checkpoint(size, leaves)).encode()


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return started(tmp_path)


def started(folder: Path) -> Witness:
    return Witness(WITNESS, [verifier_key(LOG)], WitnessFolder(folder), lambda: NOW)


def cosigned(answer: WitnessAnswer, note: Note) -> bool:
    assert answer.status == 200, answer
    found = verify_note(parse_note(f"{note.text}\n{answer.body.decode()}"), [KEY])
    return cosigned_at(found[KEY].signature) == NOW


def conflict(answer: WitnessAnswer) -> int:
    assert (answer.status, answer.content_type) == (409, SIZE_CONTENT_TYPE)
    return int(answer.body)


def test_the_first_checkpoint_and_each_that_continues_it_are_cosigned(witness: Witness) -> None:
    for old, size in [(0, 3), (3, 3), (3, 17), (17, 40), (40, 40)]:
        assert cosigned(witness.add_checkpoint(submission(old, size)), checkpoint(size))


def test_an_empty_ledger_is_cosigned(witness: Witness) -> None:
    assert cosigned(witness.add_checkpoint(submission(0, 0)), checkpoint(0))
    assert cosigned(witness.add_checkpoint(submission(0, 5)), checkpoint(5))


def test_whoever_is_wrong_about_the_old_size_is_told_it(witness: Witness) -> None:
    witness.add_checkpoint(submission(0, 17))
    assert conflict(witness.add_checkpoint(submission(0, 40))) == 17
    assert conflict(witness.add_checkpoint(submission(18, 40))) == 17


def test_a_rollback_is_refused_after_a_restart_too(tmp_path: Path) -> None:
    started(tmp_path).add_checkpoint(submission(0, 17))
    assert conflict(started(tmp_path).add_checkpoint(submission(0, 5))) == 17
    assert conflict(started(tmp_path).add_checkpoint(submission(5, 5))) == 17
    assert started(tmp_path).add_checkpoint(submission(17, 5)).status == 400
    assert cosigned(started(tmp_path).add_checkpoint(submission(17, 18)), checkpoint(18))


def test_a_fork_is_refused(witness: Witness) -> None:
    witness.add_checkpoint(submission(0, 17))
    assert conflict(witness.add_checkpoint(submission(17, 17, OTHER))) == 17
    assert witness.add_checkpoint(submission(17, 40, OTHER)).status == 422
    assert cosigned(witness.add_checkpoint(submission(17, 40)), checkpoint(40))


def test_a_wrong_proof_is_refused_and_changes_nothing(witness: Witness) -> None:
    witness.add_checkpoint(submission(0, 17))
    good = consistency_proof(nodes_from_leaves(LEAVES), 17, 40)
    for proof in ([], good[:-1], [*good, bytes(32)], [bytes(32), *good[1:]]):
        assert witness.add_checkpoint(Submission(17, tuple(proof), checkpoint(40)).encode()).status == 422
    assert witness.add_checkpoint(Submission(17, (bytes(32),), checkpoint(17)).encode()).status == 422
    assert cosigned(witness.add_checkpoint(submission(17, 40)), checkpoint(40))


def test_from_the_empty_tree_a_proof_is_refused(witness: Witness) -> None:
    assert witness.add_checkpoint(Submission(0, (bytes(32),), checkpoint(5)).encode()).status == 422


def test_an_unknown_log_and_an_unknown_key_are_told_apart(witness: Witness) -> None:
    other_log = checkpoint(5, signer=LocalSigner("other.example", bytes(32)))
    other_key = checkpoint(5, signer=LocalSigner(ORIGIN, bytes([9]) * 32))
    changed = Note(checkpoint(6).text, checkpoint(5).signatures)
    for note, status in [(other_log, 404), (other_key, 403), (changed, 403)]:
        assert witness.add_checkpoint(Submission(0, (), note).encode()).status == status


def test_signatures_of_others_are_ignored_and_not_kept(tmp_path: Path) -> None:
    signed_twice = checkpoint(5).with_signature(checkpoint(5, signer=LocalSigner("x", bytes(32))).signatures[0])
    assert cosigned(started(tmp_path).add_checkpoint(Submission(0, (), signed_twice).encode()), checkpoint(5))
    assert WitnessFolder(tmp_path).latest(ORIGIN) == checkpoint(5)


@given(st.binary())
def test_whatever_is_sent_is_answered_with_a_refusal(body: bytes) -> None:
    class NoFolder(WitnessFolder):
        def __init__(self) -> None:
            """Nothing gets this far."""

    assert Witness(WITNESS, [verifier_key(LOG)], NoFolder(), lambda: NOW).add_checkpoint(body).status == 400


def test_of_two_histories_shown_at_once_one_is_cosigned(tmp_path: Path) -> None:
    answers: list[int] = []
    barrier = threading.Barrier(8)

    def shown(leaves: list[bytes]) -> None:
        barrier.wait()
        answers.append(started(tmp_path).add_checkpoint(submission(0, 17, leaves)).status)

    threads = [threading.Thread(target=shown, args=(leaves,)) for leaves in [LEAVES, OTHER] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, *[409] * 7]


def test_a_file_that_was_changed_stops_the_witness(tmp_path: Path) -> None:
    started(tmp_path).add_checkpoint(submission(0, 17))
    (file,) = tmp_path.glob("*.note")
    for changed in (b"changed", b"\xff", str(checkpoint(17)).replace("\n17\n", "\n16\n").encode()):
        file.write_bytes(changed)
        assert started(tmp_path).add_checkpoint(submission(17, 40)).status == 503
