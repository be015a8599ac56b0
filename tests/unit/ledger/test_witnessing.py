"""Witnesses cosign the ledger's head; what they answer is verified, kept beside the head, and shown in receipts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from agent_mesh.ledger import (
    AuditEntry,
    Checkpoint,
    KeyKind,
    LocalSigner,
    WitnessQuorum,
    cosign_note,
    parse_checkpoint,
    parse_note,
    sign_note,
    verifier_key,
)
from agent_mesh.ledger.cosigned import Anchor, CosignedStore, covering, newest
from agent_mesh.ledger.errors import (
    LedgerForked,
    MalformedKey,
    NotWitnessed,
    WitnessAhead,
    WitnessRefused,
    WitnessUnavailable,
)
from agent_mesh.ledger.sequencer import Sequencer
from agent_mesh.ledger.store import LedgerStore
from agent_mesh.ledger.witness import Witness, WitnessFolder
from agent_mesh.ledger.witness_client import WitnessClient
from agent_mesh.ledger.witnessing import Round, Witnessing
from agent_mesh.platform.firestore import FirestoreClient
from tests.unit.ledger.a_witness import AWitness
from tests.unit.ledger.small_log import ORIGIN
from tests.unit.ledger.stub_server import Answer

SIGNER = LocalSigner(ORIGIN, bytes(32))
KEY = verifier_key(SIGNER)


def an_entry(number: int) -> AuditEntry:
    return AuditEntry(id=f"e-{number}", tx_id="tx", event="e", actor="me", ts="2026-11-20T14:00:00Z", payload={})


class ALedger:
    """A ledger on a real Firestore with three witnesses, of which two are needed."""

    def __init__(self, database: FirestoreClient, witnesses: list[AWitness]) -> None:
        self.store = LedgerStore(database)
        self.kept = CosignedStore(database)
        self.witnesses = witnesses
        self.appended = 0

    def append(self, count: int) -> None:
        numbers = range(self.appended, self.appended + count)
        self.appended += count
        Sequencer(self.store, SIGNER).append([an_entry(number) for number in numbers])

    def round(self) -> Round:
        return Witnessing(self.store, self.kept, [each.client for each in self.witnesses], 2).round()

    @property
    def quorum(self) -> WitnessQuorum:
        return WitnessQuorum(tuple(each.key for each in self.witnesses), 2)

    def asked(self) -> int:
        return sum(len(each.server.asked) for each in self.witnesses)


@pytest.fixture
def ledger(database: FirestoreClient, tmp_path: Path) -> Iterator[ALedger]:
    with ExitStack() as servers:
        witnesses = [AWitness(tmp_path / name, KEY, f"witness.example/{name}") for name in ("a", "b", "c")]
        for witness in witnesses:
            servers.enter_context(witness.server)
        yield ALedger(database, witnesses)


def test_an_empty_ledger_is_shown_to_nobody(ledger: ALedger) -> None:
    assert ledger.round() == Round(0)
    assert ledger.asked() == 0


def test_every_witness_cosigns_the_head_and_each_later_one(ledger: ALedger) -> None:
    for count in (1, 5, 300):
        ledger.append(count)
        done = ledger.round()
        assert (done.size, len(done.cosigned), done.faults, done.new) == (ledger.appended, 3, {}, 3)
        kept = ledger.kept.read()
        assert kept.note is not None
        assert len(ledger.quorum.check(kept.note)) == 3
        assert kept.note.text == parse_note(ledger.store.head().checkpoint or "").text


def test_a_witness_that_has_cosigned_the_head_is_not_asked_again(ledger: ALedger) -> None:
    ledger.append(3)
    ledger.round()
    assert ledger.round().new == 0
    assert ledger.asked() == 3


def test_only_those_who_have_not_yet_cosigned_are_asked_again(ledger: ALedger) -> None:
    ledger.append(3)
    ledger.witnesses[0].instead = [Answer(503)]
    assert isinstance(ledger.round().faults["witness.example/a"], WitnessUnavailable)
    done = ledger.round()
    assert (done.new, len(done.cosigned), ledger.asked()) == (1, 3, 4)


def test_a_ledger_that_forgot_what_was_cosigned_is_told_the_size(ledger: ALedger, database: FirestoreClient) -> None:
    ledger.append(3)
    ledger.round()
    ledger.append(4)
    database.collection("ledger").document("cosigned").delete()
    assert ledger.round().new == 3
    assert ledger.asked() == 3 + 3 * 2


def test_a_newer_checkpoint_takes_the_place_of_an_older_one_only_with_enough_cosignatures(ledger: ALedger) -> None:
    ledger.append(3)
    ledger.round()
    ledger.append(4)
    for witness in ledger.witnesses[:2]:
        witness.instead = [Answer(503)] * 9
    assert ledger.round().cosigned == ("witness.example/c",)
    assert ledger.kept.read().size == 3
    ledger.append(1)
    ledger.witnesses[0].instead = []
    assert ledger.round().cosigned == ("witness.example/a", "witness.example/c")
    assert ledger.kept.read().size == 8


def test_the_first_checkpoint_is_kept_though_too_few_have_cosigned_it(ledger: ALedger) -> None:
    ledger.append(3)
    for witness in ledger.witnesses[:2]:
        witness.instead = [Answer(503)] * 9
    ledger.round()
    ledger.append(1)
    ledger.round()
    assert ledger.kept.read().size == 4


def test_a_ledger_that_was_rolled_back_is_told_of(ledger: ALedger, database: FirestoreClient) -> None:
    ledger.append(9)
    ledger.round()
    for document in database.collection("ledger").stream():
        document.reference.delete()  # other entries follow than those that were cosigned
    for count, size, fault in [(5, 5, LedgerForked), (4, 9, LedgerForked), (1, 10, WitnessRefused)]:
        ledger.append(count)
        done = ledger.round()
        assert (done.size, {type(each) for each in done.faults.values()}) == (size, {fault})
    assert ledger.kept.read().note is None


def test_a_witness_that_another_round_showed_more_is_only_ahead(ledger: ALedger) -> None:
    ledger.append(5)
    witness = ledger.witnesses[0]
    head = parse_note(ledger.store.head().checkpoint or "")
    witness.instead = [Answer(409, b"7\n", {"Content-Type": "text/x.tlog.size"})]
    with pytest.raises(WitnessAhead) as ahead:
        witness.client.cosign(head, 5, 0, lambda _: [])
    assert ahead.value.size == 7


def test_another_ledger_of_the_same_size_is_a_fork(ledger: ALedger) -> None:
    witness = ledger.witnesses[0]
    for root, wanted in [(bytes(32), None), (bytes([1]) * 32, LedgerForked)]:
        note = sign_note(Checkpoint(ORIGIN, 5, root).text, SIGNER)
        if wanted is None:
            assert witness.client.cosign(note, 5, 0, lambda _: []).name == witness.key.name
            continue
        with pytest.raises(wanted):
            witness.client.cosign(note, 5, 5, lambda _: [])


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(400, b"why"), WitnessRefused),
        (Answer(403), WitnessRefused),
        (Answer(404), WitnessRefused),
        (Answer(422), WitnessRefused),
        (Answer(302, headers={"Location": "http://localhost:9/"}), WitnessRefused),
        (Answer(409, b"3\n"), WitnessRefused),
        (Answer(409, b"three\n", {"Content-Type": "text/x.tlog.size"}), WitnessRefused),
        (Answer(429), WitnessUnavailable),
        (Answer(500), WitnessUnavailable),
        (Answer(200, b""), WitnessRefused),
        (Answer(200, b"\xff"), WitnessRefused),
        (Answer(200, b"no signature\n"), WitnessRefused),
        (Answer(200, bytes(70_000)), WitnessRefused),
    ],
    ids=lambda value: f"{value.status}-{len(value.body)}" if isinstance(value, Answer) else value.__name__,
)
def test_an_answer_that_is_no_cosignature_is_refused_and_nothing_is_kept(
    ledger: ALedger, answer: Answer, fault: type[NotWitnessed]
) -> None:
    ledger.append(5)
    for witness in ledger.witnesses:
        witness.instead = [answer]
    assert {type(each) for each in ledger.round().faults.values()} == {fault}
    assert ledger.kept.read().note is None


def test_a_cosignature_of_another_key_or_checkpoint_is_refused(ledger: ALedger) -> None:
    ledger.append(5)
    head = parse_note(ledger.store.head().checkpoint or "")
    mine, other = ledger.witnesses[0], ledger.witnesses[1]
    stranger = LocalSigner(mine.key.name, bytes([7]) * 32)
    another = sign_note(Checkpoint(ORIGIN, 5, bytes(32)).text, SIGNER)
    for note, signer in [(head, stranger), (head, other.signer), (another, mine.signer)]:
        forged = cosign_note(note, signer, int(time.time())).signatures[-1]
        mine.instead = [Answer(200, f"{forged}\n".encode())]
        with pytest.raises(WitnessRefused):
            mine.client.cosign(head, 5, 0, lambda _: [])


def test_a_witness_that_is_not_there_holds_up_nobody_else(ledger: ALedger, tmp_path: Path) -> None:
    ledger.append(5)
    gone = AWitness(tmp_path / "gone", KEY, "witness.example/gone")
    gone.server._server.server_close()
    ledger.witnesses.append(gone)
    done = ledger.round()
    assert len(done.cosigned) == 3
    assert isinstance(done.faults["witness.example/gone"], WitnessUnavailable)


def test_a_witness_that_answers_drop_by_drop_is_not_listened_to_for_long() -> None:
    key = verifier_key(LocalSigner("w", bytes(32)), KeyKind.COSIGNATURE)
    note = sign_note(Checkpoint(ORIGIN, 1, bytes(32)).text, SIGNER)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def dripping() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
                for _ in range(400):
                    connection.sendall(b".")
                    time.sleep(0.05)

        thread = threading.Thread(target=dripping)
        thread.start()
        client = WitnessClient(f"http://127.0.0.1:{listening.getsockname()[1]}", key, timeout_s=0.3)
        began = time.monotonic()
        with pytest.raises(WitnessRefused, match="for longer"):
            client.cosign(note, 1, 0, lambda _: [])
        assert time.monotonic() - began < 15
        thread.join()


def test_the_key_of_a_log_is_no_witness() -> None:
    with pytest.raises(MalformedKey):
        WitnessClient("http://localhost", KEY)


def test_a_receipt_shows_the_cosigned_checkpoint_where_it_reaches(ledger: ALedger) -> None:
    ledger.append(5)
    ledger.round()
    cosigned = ledger.kept.read().note
    assert newest(parse_note(ledger.store.head().checkpoint or ""), cosigned) is cosigned
    ledger.append(2)
    head = parse_note(ledger.store.head().checkpoint or "")
    assert covering(4, head, cosigned) is cosigned
    assert covering(5, head, cosigned) is head
    assert covering(0, head, None) is head
    assert newest(head, cosigned) is head


def test_an_anchor_is_kept_beside_the_cosignatures_and_never_replaced_by_an_older_one(ledger: ALedger) -> None:
    ledger.append(5)
    ledger.kept.anchor("azure", Anchor(5, "2.10", "{}"))
    ledger.round()
    ledger.kept.anchor("azure", Anchor(4, "2.9", "{}"))
    kept = ledger.kept.read()
    assert kept.anchors == {"azure": Anchor(5, "2.10", "{}")}
    assert kept.note is not None
    assert (kept.size, len(kept.note.signatures)) == (5, 4)


@pytest.fixture
def paused(ledger: ALedger, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets another round keep its cosignatures between this one's read and write."""
    first = CosignedStore.read
    done: list[bool] = []

    def read(self: CosignedStore) -> object:
        found = first(self)
        if not done:
            done.append(True)
            ledger.round()
        return found

    return lambda: monkeypatch.setattr(CosignedStore, "read", read)


def test_two_rounds_at_once_lose_nothing(ledger: ALedger, paused: Callable[[], None]) -> None:
    ledger.append(5)
    paused()
    ledger.round()
    kept = ledger.kept.read()
    assert kept.note is not None
    assert parse_checkpoint(kept.note.text).size == 5
    assert len(kept.note.signatures) == 4
    assert len(ledger.quorum.check(kept.note)) == 3


def test_a_witness_serves_many_ledgers_apart(tmp_path: Path) -> None:
    other = LocalSigner("other.example", bytes([3]) * 32)
    witness = Witness(LocalSigner("w", bytes(32)), [KEY, verifier_key(other)], WitnessFolder(tmp_path), time.time)
    for signer in (SIGNER, other):
        note = sign_note(Checkpoint(signer.name, 1, bytes(32)).text, signer)
        assert witness.add_checkpoint(f"old 0\n\n{note}".encode()).status == 200
