"""`agent-mesh ledger`: proofs are verified before anything is shown, and nothing false is ever called verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from agent_mesh.client import Environments, environments_file
from agent_mesh.ledger import Checkpoint, KeyKind, LocalSigner, cosign_note, sign_note, verifier_key
from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_audit import StubAudit, code
from tests.unit.client.stub_mesh import StubMesh
from tests.unit.ledger.small_log import ORIGIN

WITNESS = LocalSigner("witness.example/w1", bytes([1]) * 32)
WITNESS_KEY = str(verifier_key(WITNESS, KeyKind.COSIGNATURE))
STRANGER = str(verifier_key(LocalSigner(ORIGIN, bytes([9]) * 32)))


@pytest.fixture
def receipt(audit: StubAudit, tmp_path: Path) -> Path:
    path = tmp_path / "receipt.json"
    path.write_text(audit.receipt(4))
    return path


def key_of(audit: StubAudit) -> str:
    return str(audit.log.key)


def test_a_receipt_is_verified_without_a_mesh(audit: StubAudit, receipt: Path, run: Run) -> None:
    done = run("ledger", "verify", str(receipt), "--key", key_of(audit))
    assert done.code == 0
    assert "verified  entry 4 of 10" in done.out
    assert "decision  by me" in done.out
    assert audit.server.asked == []


def test_what_is_verified_is_told_to_programs(audit: StubAudit, receipt: Path, run: Run) -> None:
    answer = json.loads(run("ledger", "verify", str(receipt), "--key", key_of(audit), "--json").out)
    assert answer["verified"] is True
    assert (answer["ledger"], answer["index"], answer["size"]) == (ORIGIN, 4, 10)
    assert answer["entry"]["payload"] == {"number": 4}
    assert answer["payload_verified"] is True


def test_a_key_may_stand_in_a_file_and_a_receipt_on_stdin(
    audit: StubAudit, receipt: Path, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{key_of(audit)}\n")
    assert run("ledger", "verify", "-", "--key", str(tmp_path / "key"), stdin=receipt.read_text()).code == 0


def test_the_answer_of_an_append_is_a_receipt_too(audit: StubAudit, run: Run) -> None:
    answer = json.dumps({"acl_txn": "e-4", "proof": json.loads(audit.receipt(4))})
    assert run("ledger", "verify", "-", "--key", key_of(audit), stdin=answer).code == 0


def test_a_payload_that_is_missing_from_a_receipt_is_said(audit: StubAudit, run: Run) -> None:
    whole = json.loads(audit.receipt(2))
    del whole["payload"]
    done = run("ledger", "verify", "-", "--key", key_of(audit), stdin=json.dumps(whole))
    assert done.code == 0
    assert "only its SHA-256 is proved" in done.out
    assert "only its SHA-256" not in run("ledger", "verify", "-", "--key", key_of(audit), stdin=audit.receipt(2)).out


def changed(receipt: str, **fields: Any) -> str:
    return json.dumps({**json.loads(receipt), **fields})


def test_every_change_to_a_receipt_is_refused_with_its_code(audit: StubAudit, run: Run) -> None:
    text = audit.receipt(4)
    proof, entry = json.loads(text)["proof"], json.loads(text)["entry"]
    cases = {
        "proof_refused": [
            changed(text, index=5),
            changed(text, entry=entry.replace("decision", "permission")),
            changed(text, proof=proof[:-1]),
            changed(text, proof=[]),
            changed(text, proof=proof[::-1]),
        ],
        "out_of_range": [changed(text, index=10)],
        "malformed_receipt": [changed(text, more=1), "[]", "", changed(text, proof=["A"]), "null", "[" * 100_000],
        "malformed_note": [changed(text, checkpoint="no note")],
        "signature_refused": [changed(text, checkpoint=str(audit.log.checkpoint()).replace("\n10\n", "\n11\n"))],
        "payload_mismatch": [changed(text, payload="{}"), changed(audit.receipt(2), payload="{}")],
    }
    for wanted, texts in cases.items():
        for each in texts:
            done = run("ledger", "verify", "-", "--key", key_of(audit), "--json", stdin=each)
            assert (done.code, done.out, code(done)) == (1, "", wanted)


def test_a_receipt_of_another_key_or_ledger_is_refused(audit: StubAudit, receipt: Path, run: Run) -> None:
    done = run("ledger", "verify", str(receipt), "--key", STRANGER, "--json")
    assert (done.code, code(done)) == (1, "unsigned")
    stranger = LocalSigner("other.example", bytes(32))
    note = sign_note(audit.log.checkpoint().text, stranger)
    other = changed(audit.receipt(4), checkpoint=str(note))
    done = run("ledger", "verify", "-", "--key", str(verifier_key(stranger)), "--json", stdin=other)
    assert (done.code, code(done)) == (1, "wrong_origin")


def test_a_receipt_that_witnesses_are_wanted_for_needs_them(audit: StubAudit, run: Run) -> None:
    options = ("ledger", "verify", "-", "--key", key_of(audit), "--witness", WITNESS_KEY, "--json")
    done = run(*options, stdin=audit.receipt(4))
    assert (done.code, code(done)) == (1, "quorum_missing")
    audit.checkpoint = str(cosign_note(audit.log.checkpoint(), WITNESS, 1_795_000_000))
    done = run(*options, stdin=audit.receipt(4))
    assert json.loads(done.out)["witnesses"] == ["witness.example/w1"]


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "/nowhere", "--key", STRANGER),
        ("verify", "receipt.json", "--key", "/nowhere"),
        ("verify", "receipt.json", "--key", "a+b+c"),
        ("verify", "receipt.json", "--key", STRANGER, "--witness", STRANGER),
        ("verify", "receipt.json", "--key", STRANGER, "--quorum", "1"),
        ("verify", "receipt.json", "--key", STRANGER, "--witness", WITNESS_KEY, "--quorum", "2"),
        ("verify", "receipt.json"),
    ],
)
def test_what_is_used_wrongly_is_no_refusal(words: tuple[str, ...], receipt: Path, run: Run) -> None:
    done = run("ledger", *words, "--json")
    assert (done.code, code(done)) == (2, "invalid_request")


def test_what_an_entry_says_does_not_steer_the_terminal(audit: StubAudit, run: Run) -> None:
    audit.append(1, "[red]tx\\[/]", actor="\u009b31m[bold]me[/bold]")
    done = run("ledger", "verify", "-", "--key", key_of(audit), stdin=audit.receipt(10))
    assert done.code == 0
    assert "\u009b" not in done.out
    assert "[bold]me[/bold]" in done.out


def test_the_checkpoint_is_shown_once_it_is_verified(audit: StubAudit, run: Run) -> None:
    done = run("ledger", "checkpoint")
    assert "10 entries" in done.out
    assert key_of(audit) in done.out, "it is what `verify` asks for"
    assert json.loads(run("ledger", "checkpoint", "--json").out)["key"] == key_of(audit)
    assert run("ledger", "checkpoint", "--raw").out == str(audit.log.checkpoint())
    assert json.loads(run("ledger", "checkpoint", "--json").out)["size"] == 10
    done = run("ledger", "checkpoint", "--key", STRANGER, "--json")
    assert (done.code, done.out, code(done)) == (1, "", "unsigned")


def test_receipts_are_fetched_verified_and_kept(audit: StubAudit, run: Run, tmp_path: Path) -> None:
    audit.append(3, "tx-2")
    done = run("ledger", "receipt", "tx-2", "--out", str(tmp_path / "kept"))
    assert done.code == 0
    assert [done.out.count(f"entry {index} of 13") for index in (10, 11, 12)] == [1, 1, 1]
    for index in (10, 11, 12):
        assert run("ledger", "verify", str(tmp_path / "kept" / f"{index}.json"), "--key", key_of(audit)).code == 0
    assert json.loads(run("ledger", "receipt", "7", "--json").out)["index"] == 7
    assert len(json.loads(run("ledger", "receipt", "tx-2", "--json").out)["receipts"]) == 3


def test_what_the_ledger_does_not_have_is_an_error(audit: StubAudit, run: Run) -> None:
    for entry in ("99", "no-such-tx"):
        done = run("ledger", "receipt", entry, "--json")
        assert (done.code, code(done)) == (1, "not_found")


def test_a_receipt_for_something_else_than_was_asked_is_refused(audit: StubAudit, run: Run) -> None:
    audit.mistaken = {"/entries/4": "/entries/3", "/tx/another": "/tx/tx-1"}
    done = run("ledger", "receipt", "4", "--json")
    assert (done.code, code(done)) == (1, "wrong_entry")
    done = run("ledger", "receipt", "another", "--json")
    assert (done.code, code(done)) == (1, "wrong_entry")


ENTRY = {"tx_id": "tx-9", "event": "seen", "actor": "me", "payload": {"a": 1}}


def test_entries_of_a_file_are_appended_and_their_proofs_verified(audit: StubAudit, run: Run) -> None:
    done = run("ledger", "append", "-", stdin=json.dumps(ENTRY))
    assert done.code == 0
    assert "verified  entry 10 of 11" in done.out
    lines = "\n".join(json.dumps({**ENTRY, "id": name}) for name in ("a", "again"))
    done = run("ledger", "append", "-", stdin=f"{lines}\n\n")
    assert "entry 12 of 13" in done.out
    assert "was there before" in done.err
    assert len(json.loads(run("ledger", "append", "-", "--json", stdin=json.dumps([ENTRY] * 3)).out)["entries"]) == 3


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "FILE"),
        ("[]", "FILE"),
        ("{}", "tx_id"),
        ("7", "body"),
        ('{"tx_id": 1}\n{', "line 2"),
        (json.dumps({**ENTRY, "more": 1}), "more"),
        (json.dumps([ENTRY, {}]), "entry 2.tx_id"),
        ("[" * 100_000, "line 1"),
    ],
)
def test_entries_that_are_none_are_refused_before_anything_is_sent(
    audit: StubAudit, run: Run, text: str, field: str
) -> None:
    done = run("ledger", "append", "-", "--json", stdin=text)
    assert done.code == 2
    assert json.loads(done.err)["errors"][0]["field"] == field
    assert audit.server.asked == []


def test_a_proof_for_another_entry_than_was_sent_is_refused(audit: StubAudit, run: Run) -> None:
    done = run("ledger", "append", "-", "--key", STRANGER, "--json", stdin=json.dumps(ENTRY))
    assert (done.code, code(done)) == (1, "unsigned")
    audit.mistaken = {"tx-9": "tx-1"}
    done = run("ledger", "append", "-", "--json", stdin=json.dumps(ENTRY))
    assert (done.code, code(done)) == (1, "wrong_entry")


@pytest.mark.parametrize("altered", [{"actor": "you"}, {"payload": {"a": True}}, {"payload": {"a": "x" * 5000}}])
def test_what_was_altered_on_its_way_is_not_called_verified(
    audit: StubAudit, run: Run, altered: dict[str, JsonValue]
) -> None:
    audit.altered = altered
    done = run("ledger", "append", "-", "--json", stdin=json.dumps(ENTRY))
    assert (done.code, done.out, code(done)) == (1, "", "wrong_entry")


def test_large_entries_go_in_as_many_calls_as_their_bytes_need(audit: StubAudit, run: Run) -> None:
    entries = [{**ENTRY, "payload": {"text": "x" * 250_000, "n": number}} for number in range(10)]
    answers = json.loads(run("ledger", "append", "-", "--json", stdin=json.dumps(entries)).out)["entries"]
    assert [answer["index"] for answer in answers] == list(range(10, 20))
    bodies = [len(asked.body) for asked in audit.server.asked if asked.path == "/audit/batch"]
    assert len(bodies) == 3
    assert max(bodies) < 2 * 1024 * 1024


@pytest.fixture
def deployed(audit: StubAudit, prod: StubMesh) -> StubAudit:
    """The same ledger as the function `audit` of the environment `prod`."""
    known = Environments.read()
    environment = known.named("prod").model_copy(update={"functions": {"audit": audit.server.url}})
    known.with_environment("prod", environment).write()
    return audit


def test_a_deployed_ledgers_own_key_is_remembered_at_first_use_and_that_is_said(deployed: StubAudit, run: Run) -> None:
    done = run("ledger", "checkpoint", "--env", "prod")
    assert done.code == 0
    assert "First use" in done.err
    assert key_of(deployed) in done.err
    assert "First use" not in run("ledger", "checkpoint", "--env", "prod").err
    assert run("ledger", "verify", "-", stdin=deployed.receipt(4)).code == 0  # with the key that was remembered
    assert environments_file().with_name("ledger-keys.json").stat().st_mode & 0o077 == 0


def test_a_ledger_whose_key_has_changed_is_refused(deployed: StubAudit, run: Run) -> None:
    run("ledger", "checkpoint", "--env", "prod")
    deployed.log.signer = LocalSigner(ORIGIN, bytes([9]) * 32)
    done = run("ledger", "checkpoint", "--env", "prod", "--json")
    assert (done.code, code(done)) == (1, "unsigned")


def test_a_key_of_another_name_is_not_remembered(deployed: StubAudit, run: Run) -> None:
    deployed.key = str(verifier_key(LocalSigner("other.example", bytes(32))))
    done = run("ledger", "checkpoint", "--env", "prod", "--json")
    assert (done.code, code(done)) == (1, "wrong_origin")
    assert not environments_file().with_name("ledger-keys.json").exists()


def test_a_file_of_keys_that_cannot_be_read_stops(deployed: StubAudit, run: Run) -> None:
    environments_file().with_name("ledger-keys.json").write_text("{")
    assert run("ledger", "checkpoint", "--env", "prod", "--json").code == 2


def test_an_environment_that_does_not_know_its_ledger_is_told_of(prod: StubMesh, run: Run) -> None:
    done = run("ledger", "checkpoint", "--env", "prod")
    assert done.code == 2
    assert "agent-mesh login --from" in done.err


def test_a_url_is_that_of_the_audit_function(audit: StubAudit, mesh: StubMesh, run: Run) -> None:
    assert run("ledger", "checkpoint", "--url", audit.server.url, "--as", "x@p.iam.gserviceaccount.com").code == 3
    from tests.unit.client.stub_google import OPERATOR

    assert run("ledger", "checkpoint", "--url", audit.server.url, "--as", OPERATOR).code == 0


def test_a_ledger_that_is_not_there_is_unreachable(stub: StubMesh, run: Run) -> None:
    assert run("ledger", "checkpoint").code == 3


def test_an_empty_root_is_no_surprise(audit: StubAudit, run: Run) -> None:
    audit.checkpoint = str(sign_note(Checkpoint(ORIGIN, 0, bytes(32)).text, audit.log.signer))
    assert json.loads(run("ledger", "checkpoint", "--json").out)["size"] == 0
