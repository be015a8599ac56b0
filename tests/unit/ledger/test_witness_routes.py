"""The audit function asks its witnesses, shows what they cosigned, and finds whatever is changed of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_mesh.ledger import WitnessQuorum, open_key_file, parse_note, parse_receipt, verifier_key, verify_receipt
from agent_mesh.ledger.cosigned import Anchor, CosignedStore
from agent_mesh.platform.firestore import FirestoreClient
from tests.conftest import HandClock
from tests.unit.ledger.a_witness import AWitness
from tests.unit.ledger.an_azure_ledger import AnAzureLedger
from tests.unit.ledger.conftest import CALLER, LOG_NAME, OPERATOR, VIEWER, AuditInHand, audit_in_hand
from tests.unit.ledger.stub_server import Answer
from tests.unit.ledger.test_azure_ledger import Credential


class Witnessed:
    """An audit function with two witnesses, both of which are needed."""

    def __init__(self, audit: AuditInHand, witnesses: list[AWitness]) -> None:
        self.audit = audit
        self.witnesses = witnesses
        self.quorum = WitnessQuorum(tuple(each.key for each in witnesses), 2)

    def round(self) -> dict[str, Any]:
        answer = self.audit.call("POST", "/witness")
        assert answer.status == 200, answer
        return answer.json

    def findings(self) -> list[str]:
        return [each["place"] for each in self.audit.call("POST", "/fsck", {}).json["findings"]]


class Anchored(Witnessed):
    """The same with an Azure Confidential Ledger."""

    def __init__(self, audit: AuditInHand, witnesses: list[AWitness], azure: AnAzureLedger) -> None:
        super().__init__(audit, witnesses)
        self.azure = azure


@pytest.fixture
def witnessed(database: FirestoreClient, tmp_path: Path, clock: HandClock) -> Iterator[Witnessed]:
    log_key = verifier_key(open_key_file(tmp_path / "ledger-key", LOG_NAME))
    with ExitStack() as servers:
        witnesses = [AWitness(tmp_path / name, log_key, f"witness.example/{name}") for name in ("a", "b")]
        for witness in witnesses:
            servers.enter_context(witness.server)
        listed = [{"url": f"{each.server.url}/prefix", "key": str(each.key)} for each in witnesses]
        audit = audit_in_hand(database, tmp_path, clock, LEDGER_WITNESSES=json.dumps(listed))
        yield Witnessed(audit, witnesses)


def test_without_witnesses_a_round_does_nothing(audit: AuditInHand) -> None:
    audit.append()
    assert audit.call("POST", "/witness").json == {"size": 0, "cosigned": [], "faults": [], "new": 0}
    found = audit.get("/witnesses").json
    assert found == {"size": 0, "quorum": 0, "witnesses": [], "anchors": []}


def test_receipts_and_the_checkpoint_show_the_cosignatures(witnessed: Witnessed) -> None:
    audit = witnessed.audit
    audit.append()
    done = witnessed.round()
    assert (done["size"], done["cosigned"], done["new"]) == (1, ["witness.example/a", "witness.example/b"], 2)
    assert len(witnessed.quorum.check(parse_note(audit.get("/checkpoint").raw.decode()))) == 2
    audit.append(tx_id="tx-2")
    assert len(parse_note(audit.get("/checkpoint").raw.decode()).signatures) == 1
    receipts = [parse_receipt(audit.get(f"/entries/{index}").raw) for index in (0, 1)]
    assert len(verify_receipt(receipts[0], audit.key, witnessed.quorum).witnesses) == 2
    assert verify_receipt(receipts[1], audit.key).checkpoint.size == 2
    (record,) = audit.get("/tx/tx-1").json["records"]
    assert len(verify_receipt(parse_receipt(json.dumps(record["receipt"])), audit.key, witnessed.quorum).witnesses) == 2


def test_what_was_cosigned_is_told_to_readers_and_as_an_event(witnessed: Witnessed) -> None:
    audit = witnessed.audit
    audit.append()
    witnessed.witnesses[1].instead = [Answer(503)]
    assert witnessed.round()["faults"][0]["code"] == "witness_unavailable"
    found = audit.get("/witnesses", by=VIEWER).json
    assert ["cosigned_at" in each for each in found["witnesses"]] == [True, False]
    assert found["witnesses"][0]["cosigned_at"].startswith("2026-")
    assert (found["size"], found["quorum"]) == (1, 2)
    events = [json.loads(message.data) for message in audit.publisher.on("events")]
    told = [event["data"] for event in events if event["type"] == "mesh.ledger.witnessed"]
    assert told == [{"size": 1, "cosigned": ["witness.example/a"], "missing": ["witness.example/b"]}]
    witnessed.round()
    witnessed.round()
    events = [json.loads(message.data) for message in audit.publisher.on("events")]
    assert len([event for event in events if event["type"] == "mesh.ledger.witnessed"]) == 2


def test_only_operators_and_the_schedule_start_a_round(witnessed: Witnessed) -> None:
    for by, status in [(OPERATOR, 200), (CALLER, 403), (VIEWER, 403), (None, 401)]:
        assert witnessed.audit.call("POST", "/witness", by=by).status == status
    assert witnessed.audit.get("/witnesses", by=CALLER).status == 200
    assert witnessed.audit.get("/witnesses", by=None).status == 401


def test_a_fork_is_logged_as_an_error_that_the_alert_counts(
    witnessed: Witnessed, caplog: pytest.LogCaptureFixture
) -> None:
    witnessed.audit.append()
    told = Answer(409, b"7\n", {"Content-Type": "text/x.tlog.size"})
    witnessed.witnesses[0].instead = [told]
    with caplog.at_level(logging.WARNING, "agent_mesh"):
        assert witnessed.round()["faults"][0]["code"] == "ledger_forked"
    (line,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    fields: dict[str, Any] = vars(line)["fields"]
    assert (fields["type"], fields["witness"]) == ("mesh.ledger.forked", "witness.example/a")


def test_nothing_is_found_in_what_was_cosigned_and_not_changed(witnessed: Witnessed) -> None:
    witnessed.audit.append()
    assert witnessed.findings() == []
    witnessed.round()
    witnessed.audit.append(tx_id="tx-2")
    assert witnessed.findings() == []


@given(st.integers(0), st.integers(0, 7))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_in_what_was_cosigned_is_found(witnessed: Witnessed, place: int, bit: int) -> None:
    if witnessed.audit.store.head().tree.end == 0:
        witnessed.audit.append()
        witnessed.round()
    document = witnessed.audit.parts.database.collection("ledger").document("cosigned")
    kept = document.get().get("checkpoint")
    changed = bytearray(kept.encode())
    changed[place % len(changed)] ^= 1 << bit
    document.update({"checkpoint": changed.decode(errors="replace")})
    assert witnessed.findings() == ["cosigned"]
    document.update({"checkpoint": kept})
    assert witnessed.findings() == []


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.update(checkpoint=7),
        lambda fields: fields.update(checkpoint="no note"),
        lambda fields: fields.update(more=1),
        lambda fields: fields.pop("anchors"),
        lambda fields: fields.update(anchors={"azure": 7}),
    ],
    ids=["type", "note", "more", "less", "anchor"],
)
def test_a_damaged_document_is_found_and_stops_no_receipt(witnessed: Witnessed, change: Change) -> None:
    audit = witnessed.audit
    audit.append()
    witnessed.round()
    document = audit.parts.database.collection("ledger").document("cosigned")
    fields = document.get().to_dict() or {}
    change(fields)
    document.set(fields)
    assert witnessed.findings() == ["cosigned"]
    assert verify_receipt(parse_receipt(audit.get("/entries/0").raw), audit.key).index == 0
    assert audit.get("/checkpoint").status == 200
    assert audit.call("POST", "/witness").refusal == (503, "unavailable")
    assert audit.get("/witnesses").refusal == (503, "unavailable")


def test_cosignatures_of_a_tree_that_the_ledger_has_lost_are_found(witnessed: Witnessed) -> None:
    audit = witnessed.audit
    audit.append()
    audit.append(tx_id="tx-2")
    witnessed.round()
    kept = audit.parts.database.collection("ledger").document("cosigned").get().to_dict() or {}
    for document in audit.parts.database.collection("ledger").stream():
        document.reference.delete()
    again = audit_in_hand(
        audit.parts.database,
        Path(audit.parts.settings.ledger_key_file).parent,
        audit.clock,
        LEDGER_WITNESSES=json.dumps([each.model_dump() for each in audit.parts.settings.ledger_witnesses]),
    )
    restored = Witnessed(again, witnessed.witnesses)
    again.append()
    again.parts.database.collection("ledger").document("cosigned").set(kept)
    assert restored.findings() == ["cosigned"]
    again.append(tx_id="tx-3")
    assert restored.findings() == ["cosigned"]
    assert {fault["code"] for fault in restored.round()["faults"]} == {"ledger_forked"}


@pytest.fixture
def anchored(witnessed: Witnessed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Anchored]:
    """The same with an Azure Confidential Ledger."""
    azure = AnAzureLedger(tmp_path, pending=0)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(azure.service_file))
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Credential)
    place = Path(witnessed.audit.parts.settings.ledger_key_file).parent
    listed = json.dumps([each.model_dump() for each in witnessed.audit.parts.settings.ledger_witnesses])
    named = {"AZURE_LEDGER_URL": azure.server.url, "AZURE_LEDGER_IDENTITY_URL": azure.server.url}
    known = witnessed.audit
    audit = audit_in_hand(known.parts.database, place, known.clock, LEDGER_WITNESSES=listed, **named)
    with azure.server:
        yield Anchored(audit, witnessed.witnesses, azure)


def test_what_was_cosigned_is_posted_to_azure_once(anchored: Anchored) -> None:
    anchored.audit.append()
    assert anchored.round()["new"] == 3
    assert anchored.round()["new"] == 0
    (anchor,) = anchored.audit.get("/witnesses").json["anchors"]
    assert (anchor["name"], anchor["size"], anchor["transaction"]) == ("azure", 1, "2.1")
    assert len(anchored.quorum.check(parse_note(json.loads(anchor["receipt"])["contents"]))) == 2
    anchored.audit.append(tx_id="tx-2")
    assert anchored.round()["new"] == 3
    assert anchored.findings() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept["receipt"].update(signature="AAAA"),
        lambda kept: kept["receipt"]["leafComponents"].update(writeSetDigest="00" * 32),
        lambda kept: kept.update(contents=kept["contents"].replace("\n1\n", "\n2\n")),
        lambda kept: kept.update(collectionId="another"),
        lambda kept: kept.update(transactionId="2.2"),
        lambda kept: kept.update(serviceCertificate="none"),
        lambda kept: kept.clear(),
    ],
    ids=["signature", "leaf", "contents", "collection", "transaction", "certificate", "everything"],
)
def test_a_changed_receipt_of_azure_is_found(anchored: Anchored, change: Change) -> None:
    anchored.audit.append()
    anchored.round()
    kept = CosignedStore(anchored.audit.parts.database)
    anchor = kept.read().anchors["azure"]
    receipt = json.loads(anchor.receipt)
    change(receipt)
    kept.anchor("azure", Anchor(anchor.size, anchor.transaction, json.dumps(receipt)))
    assert anchored.findings() == ["cosigned, azure"]
    kept.anchor("azure", Anchor(anchor.size + 1, anchor.transaction, anchor.receipt))
    assert anchored.findings() == ["cosigned, azure"]


def test_an_azure_that_refuses_is_a_fault_and_stops_no_witness(anchored: Anchored) -> None:
    anchored.audit.append()
    anchored.azure.instead = {"/app/transactions": [Answer(403)]}
    done = anchored.round()
    assert done["cosigned"] == ["witness.example/a", "witness.example/b"]
    assert [(each["witness"], each["code"]) for each in done["faults"]] == [("azure", "witness_refused")]
    assert anchored.round()["new"] == 1
