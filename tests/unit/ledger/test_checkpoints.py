"""A checkpoint is read in the one way in which it can be written, and is the log's own or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.ledger import (
    Checkpoint,
    KeyKind,
    LocalSigner,
    WitnessQuorum,
    cosign_note,
    open_checkpoint,
    parse_checkpoint,
    sign_note,
    verifier_key,
)
from agent_mesh.ledger.errors import (
    LedgerError,
    MalformedCheckpoint,
    MalformedKey,
    QuorumMissing,
    SignatureRefused,
    Unsigned,
    WrongOrigin,
)
from agent_mesh.ledger.tree import EMPTY_ROOT, MAX_SIZE
from tests.unit.ledger.small_log import SmallLog, entries_up_to

LINES = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs", "Cc"]), min_size=1)
CHECKPOINTS = st.builds(
    Checkpoint, LINES, st.integers(0, MAX_SIZE), st.binary(min_size=32, max_size=32), st.lists(LINES).map(tuple)
)
WITNESSES = [LocalSigner(f"witness.example/{number}", bytes([number]) * 32) for number in range(1, 4)]
KEYS = tuple(verifier_key(witness, KeyKind.COSIGNATURE) for witness in WITNESSES)


def log_of(size: int) -> SmallLog:
    log = SmallLog()
    log.append(entries_up_to(size))
    return log


@given(CHECKPOINTS)
def test_a_checkpoint_leads_back_to_itself(checkpoint: Checkpoint) -> None:
    assert parse_checkpoint(checkpoint.text) == checkpoint


def test_an_empty_log_has_a_checkpoint() -> None:
    log = SmallLog()
    assert open_checkpoint(log.checkpoint(), log.key) == Checkpoint(log.signer.name, 0, EMPTY_ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "a\n1\n", "a\n1\nAAAA", "a\n01\nAAAA\n", "a\n+1\nAAAA\n", "a\n 1\nAAAA\n", "a\n1_0\nAAAA\n",
        "a\n\u0663\nAAAA\n", "a\n9223372036854775808\nAAAA\n",
        "a\n1\n\n", "a\n1\nAAAA\n\n", "a\n1\nAAA\n", "a\n1\nAA-_\n",
        "a\n1\nAAAB==\n", "a\n1\nAB==\n", "a\n1\nAAAA \n",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(MalformedCheckpoint):
        parse_checkpoint(text)


@given(st.one_of(st.text(), st.text("a01\n=A", max_size=40)))
def test_any_text_is_a_checkpoint_or_refused_by_name(text: str) -> None:
    try:
        checkpoint = parse_checkpoint(text)
    except MalformedCheckpoint:
        return
    assert checkpoint.text == text


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [("", 0, b"r", ()), ("a\nb", 0, b"r", ()), ("a", -1, b"r", ()), ("a", 0, b"", ()), ("a", 0, b"r", ("",))],
)
def test_what_cannot_be_written_is_refused(origin: str, size: int, root: bytes, extensions: tuple[str, ...]) -> None:
    with pytest.raises(MalformedCheckpoint):
        Checkpoint(origin, size, root, extensions)


def test_the_checkpoint_of_another_log_is_refused_though_the_key_is_right() -> None:
    log = log_of(3)
    other = Checkpoint("other.example", 3, log.tree.root)
    with pytest.raises(WrongOrigin, match=r"is of the log 'other\.example'"):
        open_checkpoint(sign_note(other.text, log.signer), log.key)


def test_a_checkpoint_of_the_same_name_and_another_key_is_refused() -> None:
    log = log_of(3)
    impostor = LocalSigner(log.signer.name, bytes([9]) * 32)
    with pytest.raises(Unsigned, match="not signed by the log's key"):
        open_checkpoint(sign_note(log.checkpoint().text, impostor), log.key)


def test_a_note_that_the_log_signed_and_that_is_no_checkpoint_is_refused() -> None:
    log = log_of(1)
    with pytest.raises(MalformedCheckpoint):
        open_checkpoint(sign_note("hello\n", log.signer), log.key)


def test_a_quorum_is_as_many_witnesses_as_were_asked_for() -> None:
    note = log_of(3).checkpoint()
    for count, witness in enumerate(WITNESSES):
        with pytest.raises(QuorumMissing, match=f"{count} of the witnesses have cosigned, {count + 1} are needed"):
            WitnessQuorum(KEYS, count + 1).check(note)
        note = cosign_note(note, witness, 1_800_000_000)
        assert WitnessQuorum(KEYS, count + 1).check(note) == tuple(key.name for key in KEYS[: count + 1])


def test_a_witness_that_cosigns_twice_counts_once() -> None:
    note = log_of(3).checkpoint()
    for seconds in (1, 2):
        note = cosign_note(note, WITNESSES[0], seconds)
    with pytest.raises(QuorumMissing):
        WitnessQuorum(KEYS, 2).check(note)


def test_a_cosignature_of_another_checkpoint_is_refused() -> None:
    older = cosign_note(log_of(2).checkpoint(), WITNESSES[0], 1)
    note = log_of(3).checkpoint().with_signature(older.signatures[-1])
    with pytest.raises(SignatureRefused):
        WitnessQuorum(KEYS, 1).check(note)


def test_a_quorum_that_means_nothing_is_refused() -> None:
    log_key = log_of(1).key
    twin = verifier_key(LocalSigner("other.example", bytes([1]) * 32), KeyKind.COSIGNATURE)
    for witnesses, needed in [(KEYS, 0), (KEYS, 4), ((), 0), ((log_key,), 1), ((KEYS[0], twin), 2)]:
        with pytest.raises(MalformedKey):
            WitnessQuorum(witnesses, needed)


def test_every_refusal_has_a_code_of_its_own() -> None:
    kinds: list[type[LedgerError]] = [LedgerError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    assert len({kind.code for kind in kinds}) == len(kinds) > 20
