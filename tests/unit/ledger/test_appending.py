"""What is handed to the audit function is in the ledger when it answers, once, under the name of who handed it in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions as google_errors
from google.cloud import firestore

from agent_mesh.ledger import parse_receipt, verify_receipt
from agent_mesh.ledger.inspection import inspect
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.platform.settings import SettingsError
from tests.conftest import HandClock
from tests.unit.ledger.conftest import (
    CALLER,
    LOG_NAME,
    OPERATOR,
    OTHER,
    PUSHER,
    VIEWER,
    AuditInHand,
    audit_in_hand,
)


def event(number: int = 1, **changes: object) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"ev_{number}",
        "source": "/orchestrator",
        "type": "mesh.task.succeeded",
        "subject": f"task_{number}",
        "time": "2027-01-15T08:00:00.000Z",
        "traceparent": "",
        "data": {"status": "succeeded", "caller": CALLER},
        **changes,
    }


class TestEntries:
    """`POST /audit` and `POST /audit/batch`."""

    def test_the_answer_proves_that_the_entry_is_in_the_ledger(self, audit: AuditInHand) -> None:
        answer = audit.append(payload={"n": 1, "text": "ü", "nothing": None})
        assert answer.status == 200
        body = answer.json
        assert (body["index"], body["ts"], body["repeated"]) == (0, audit.clock.now(), False)
        assert answer.headers["Location"] == "/entries/0"
        verified = verify_receipt(parse_receipt(json.dumps(body["proof"])), audit.key)
        assert verified.checkpoint.origin == LOG_NAME
        assert verified.entry.id == body["acl_txn"]
        assert verified.entry.payload == {"n": 1, "text": "ü", "nothing": None}
        assert (verified.entry.actor, verified.entry.recorded_by) == ("agent:x", CALLER)

    def test_without_an_id_every_call_adds_an_entry(self, audit: AuditInHand) -> None:
        assert [audit.append().json["index"] for _ in range(3)] == [0, 1, 2]

    def test_the_same_id_again_adds_nothing_and_answers_with_the_first(self, audit: AuditInHand) -> None:
        first = audit.append(id="mine").json
        audit.append()
        audit.clock.advance(60)
        again = audit.append(id="mine")
        assert again.status == 200
        assert again.json["repeated"]
        same = ("acl_txn", "index", "ts", "tx_id")
        assert [again.json[name] for name in same] == [first[name] for name in same]
        assert verify_receipt(parse_receipt(json.dumps(again.json["proof"])), audit.key).checkpoint.size == 2

    def test_a_repeat_at_another_instance_is_proven_there_too(
        self, audit: AuditInHand, database: FirestoreClient, tmp_path: Path, clock: HandClock
    ) -> None:
        entries = [{"tx_id": "tx", "event": "e", "actor": "a", "payload": {"n": number}} for number in range(300)]
        assert audit.call("POST", "/audit/batch", {"entries": entries}, by=CALLER).status == 200
        other = audit_in_hand(database, tmp_path, clock)
        assert other.append().json["index"] == 300  # it knows the head of now, and of the first bundle nothing
        first = audit.append(id="mine").json
        again = other.append(id="mine").json
        assert (again["index"], again["repeated"]) == (first["index"], True)
        verified = verify_receipt(parse_receipt(json.dumps(again["proof"])), audit.key)
        assert verified.checkpoint.size > first["index"]

    @pytest.mark.parametrize("change", [{"payload": {"n": 2}}, {"tx_id": "tx-2"}, {"event": "x"}, {"actor": "y"}])
    def test_the_same_id_for_something_else_is_a_conflict(self, audit: AuditInHand, change: dict[str, object]) -> None:
        audit.append(id="mine")
        assert audit.append(id="mine", **change).refusal == (409, "idempotency_conflict")
        assert audit.store.head().tree.end == 1

    def test_nobody_takes_the_id_of_another_caller_or_of_an_event(self, audit: AuditInHand) -> None:
        theirs = audit.append(id="mine", payload={"who": "caller"}).json
        assert audit.append(OTHER, id="mine", payload={"who": "other"}).status == 200
        for name in (theirs["acl_txn"], "ev_1"):
            assert audit.append(OTHER, id=name).status == 200
        assert audit.push(event()).status == 204
        assert audit.store.head().tree.end == 5

    @pytest.mark.parametrize("tx_id", ["/", "/tx-1", "//tx-1"])
    def test_a_transaction_that_no_path_leads_to_is_refused(self, audit: AuditInHand, tx_id: str) -> None:
        assert audit.append(tx_id=tx_id).refusal == (422, "invalid_request")
        assert audit.append(tx_id=f"x{tx_id}").status == 200

    def test_a_batch_is_one_commit_in_its_order(self, audit: AuditInHand) -> None:
        entry = {"tx_id": "tx", "event": "e", "actor": "a"}
        entries = [entry | {"payload": {"n": number}, "id": f"id-{number % 40}"} for number in range(40)]
        answers = audit.call("POST", "/audit/batch", {"entries": entries}, by=CALLER).json["entries"]
        assert [each["index"] for each in answers] == list(range(40))
        for each in answers:
            assert verify_receipt(parse_receipt(json.dumps(each["proof"])), audit.key).index == each["index"]
        assert len(audit.checkpoints()) == 1
        again = audit.call("POST", "/audit/batch", {"entries": entries}, by=CALLER).json["entries"]
        assert [(each["index"], each["repeated"]) for each in again] == [(number, True) for number in range(40)]

    def test_the_same_id_twice_in_a_batch_is_one_entry(self, audit: AuditInHand) -> None:
        entry = {"tx_id": "tx", "event": "e", "actor": "a", "payload": {}, "id": "x"}
        answers = audit.call("POST", "/audit/batch", {"entries": [entry, entry]}, by=CALLER).json["entries"]
        assert [(each["index"], each["repeated"]) for each in answers] == [(0, False), (0, True)]

    def test_a_large_payload_goes_in_by_its_digest_and_comes_with_the_receipt(self, audit: AuditInHand) -> None:
        body = audit.append(payload={"text": "x" * 200_000}, id="large").json
        again = audit.append(payload={"text": "x" * 200_000}, id="large").json
        for receipt in (body["proof"], again["proof"], audit.get("/entries/0").json):
            verified = verify_receipt(parse_receipt(json.dumps(receipt)), audit.key)
            assert verified.entry.payload is None
            assert len(receipt["payload"]) > 200_000

    @pytest.mark.parametrize(
        "change",
        [
            {"tx_id": ""}, {"tx_id": "a b"}, {"tx_id": "x" * 129}, {"tx_id": None}, {"tx_id": 5}, {"event": "\n"},
            {"actor": ""}, {"actor": "a\x00"}, {"payload": None}, {"payload": []}, {"payload": "x"}, {"id": ""},
            {"payload": {"x": "y" * 300_000}}, {"ts": 5}, {"event": "mesh.access.decided"},
            {"recorded_by": "me@example.com"}, {"actor": "x" * 256},
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_refused_and_leaves_nothing(
        self, audit: AuditInHand, change: dict[str, object]
    ) -> None:
        assert audit.append(**change).refusal[0] in {413, 422}
        assert audit.store.head().tree.end == 0

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"{", b"\xff", b"[]", b"null", b'{"tx_id":' * 5000, b'"x"',
            b'{"tx_id":"t","event":"e","actor":"a","payload":{"n":NaN}}',
            b'{"tx_id":"t","event":"e","actor":"a","payload":{"n":1e999}}',
            b'{"tx_id":"t","event":"e","actor":"a","payload":{"n":"\\ud800"}}',
            b'{"tx_id":"t","event":"e","actor":"\\ud800","payload":{}}',
            b'{"tx_id":"t","event":"e","actor":"a","payload":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
            b'{"tx_id":"t","event":"e","actor":"a","payload":{"n":' + b"9" * 6000 + b"}}",
        ],
    )  # fmt: skip
    def test_a_hostile_body_is_refused_and_leaves_nothing(self, audit: AuditInHand, body: bytes) -> None:
        for path in ("/audit", "/audit/batch", "/pubsub/events", "/fsck"):
            by = {"/pubsub/events": PUSHER, "/fsck": OPERATOR}.get(path, CALLER)
            answer = audit.call("POST", path, body, by=by)
            assert answer.status in {200, 400, 413, 422} if path == "/fsck" else answer.refusal[0] in {400, 413, 422}
        assert audit.store.head().tree.end == 0

    @pytest.mark.parametrize("entries", [[], [{}], [None], [{"tx_id": "t", "event": "e", "actor": "a"}] * 501])
    def test_a_batch_that_does_not_fit_is_refused(self, audit: AuditInHand, entries: list[object]) -> None:
        assert audit.call("POST", "/audit/batch", {"entries": entries}, by=CALLER).refusal == (422, "invalid_request")

    @pytest.mark.parametrize("by", [None, "stranger@example.com", VIEWER, PUSHER])
    def test_only_callers_and_operators_append(self, audit: AuditInHand, by: str | None) -> None:
        body = {"tx_id": "t", "event": "e", "actor": "a", "payload": {}}
        assert audit.call("POST", "/audit", body, by=by).status == (401 if by is None else 403)

    def test_a_commit_that_fails_is_503_and_leaves_nothing(
        self, audit: AuditInHand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        audit.append()

        def cut_off(_batch: firestore.WriteBatch) -> None:
            raise google_errors.ServiceUnavailable("connection lost")  # type: ignore[no-untyped-call]

        with monkeypatch.context() as patch:
            patch.setattr(firestore.WriteBatch, "commit", cut_off)
            answer = audit.append(id="x")
            assert answer.refusal == (503, "unavailable")
            assert answer.headers["Retry-After"] == "1"
            assert audit.push(event()).refusal == (503, "unavailable")
        assert audit.store.head().tree.end == 1
        assert audit.append(id="x").json["index"] == 1


class TestEvents:
    """`POST /pubsub/events`."""

    def test_an_event_is_an_entry_with_its_own_id(self, audit: AuditInHand) -> None:
        assert audit.push(event()).status == 204
        (record,) = audit.get("/tx/task_1").json["records"]
        assert (record["id"], record["event"], record["actor"]) == ("ev_1", "mesh.task.succeeded", CALLER)
        assert record["recorded_by"] == PUSHER
        assert record["payload"] == {
            "source": "/orchestrator",
            "time": "2027-01-15T08:00:00.000Z",
            "traceparent": "",
            "data": {"status": "succeeded", "caller": CALLER},
        }

    def test_an_event_that_comes_again_adds_nothing_at_any_instance(self, audit: AuditInHand, tmp_path: Path) -> None:
        other = audit_in_hand(audit.parts.database, tmp_path, audit.clock)
        for instance in (audit, other, audit):
            assert instance.push(event()).status == 204
        assert audit.store.head().tree.end == 1

    @pytest.mark.parametrize(
        ("data", "actor"),
        [
            ({"actor": "a@example.com"}, "a@example.com"),
            ({"caller": "c@example.com", "actor": "a"}, "c@example.com"),
            ({"caller": 5, "actor": "a\n"}, "/orchestrator"),
            ({"actor": "x" * 300}, "x" * 255),
            ({}, "/orchestrator"),
        ],
    )
    def test_the_actor_is_who_the_event_names(self, audit: AuditInHand, data: dict[str, object], actor: str) -> None:
        audit.push(event(data=data))
        assert audit.get("/tx/task_1").json["records"][0]["actor"] == actor

    def test_the_ledger_does_not_feed_itself(self, audit: AuditInHand) -> None:
        assert audit.push(event(type="mesh.ledger.checkpoint")).status == 204
        assert audit.store.head().tree.end == 0

    @pytest.mark.parametrize(
        "message",
        [
            b"", b"{}", b"[]", b"\xff", b"null", b"5", {"id": "x"},
            event(id=""), event(id="a b"), event(id="x" * 129), event(subject=""), event(type="a b"),
            event(data=[]), event(data={"x": "y" * 300_000}),
            b'{"id":"i","source":"s","type":"t","subject":"x","time":"","data":{"n":NaN}}',
            b'{"id":"i","source":"s","type":"t","subject":"x","time":"","data":{"n":"\\ud800"}}',
            b'{"id":"i","source":"s","type":"t","subject":"x","time":"\\ud800"}',
            b'{"id":"i","source":"s","type":"t","subject":"x","time":"","data":' + b'{"a":' * 3000,
        ],
    )  # fmt: skip
    def test_what_is_no_event_is_refused_until_it_is_a_dead_letter(self, audit: AuditInHand, message: object) -> None:
        assert audit.push(message).refusal[0] in {400, 422}
        assert audit.store.head().tree.end == 0

    def test_only_the_subscription_pushes(self, audit: AuditInHand) -> None:
        for by in (CALLER, OPERATOR, VIEWER):
            assert audit.push(event(), by=by).refusal == (403, "forbidden")


class TestSigns:
    """What tells that the ledger lives and is whole."""

    def test_every_commit_is_told_as_an_event(self, audit: AuditInHand) -> None:
        audit.append()
        audit.append()
        head = audit.store.head()
        first, second = audit.checkpoints()
        assert (first["size"], second["size"], second["added"], second["origin"]) == (1, 2, 1, LOG_NAME)
        assert second["root"] == (head.checkpoint or "").split("\n")[2]

    def test_a_repeat_tells_nothing(self, audit: AuditInHand) -> None:
        for _ in range(3):
            audit.append(id="x")
        assert len(audit.checkpoints()) == 1

    def test_a_heartbeat_is_one_entry_each_half_hour(self, audit: AuditInHand, tmp_path: Path) -> None:
        other = audit_in_hand(audit.parts.database, tmp_path, audit.clock)
        assert audit.call("POST", "/heartbeat", {}).json == {"index": 0, "size": 1}
        assert other.call("POST", "/heartbeat").json == {"index": 0, "size": 1}
        audit.clock.advance(1800)
        assert audit.call("POST", "/heartbeat", {}).json == {"index": 1, "size": 2}
        assert audit.call("POST", "/heartbeat", {}, by=CALLER).refusal == (403, "forbidden")

    def test_the_whole_ledger_is_read_again_part_by_part(self, audit: AuditInHand) -> None:
        entry = {"tx_id": "tx", "event": "e", "actor": "a", "payload": {}}
        for _ in range(3):
            audit.call("POST", "/audit/batch", {"entries": [entry] * 300}, by=CALLER)
        first = audit.call("POST", "/fsck", {"bundles": 2}).json
        assert first == {"size": 900, "findings": [], "next_bundle": 2}
        assert audit.call("POST", "/fsck", {"first_bundle": 2, "bundles": 2}).json == {"size": 900, "findings": []}
        assert inspect(audit.store, audit.key, 0, 64).findings == ()
        document = audit.parts.database.collection("ledger").document("tile-0-00000000000000002")
        document.update({"held": bytes(32 * 256)})
        assert audit.call("POST", "/fsck", {"bundles": 2}).json["findings"] == []
        found = audit.call("POST", "/fsck", {"first_bundle": 2}).json
        assert [each["place"] for each in found["findings"]] == ["tile/0/002"]
        assert audit.call("POST", "/fsck", {}, by=VIEWER).refusal == (403, "forbidden")


class TestStart:
    """What cannot sign does not start."""

    @pytest.mark.parametrize(
        ("settings", "named"),
        [
            ({"LEDGER_KEY_FILE": ""}, "LEDGER_KMS_KEY"),
            ({"LEDGER_ORIGIN": "", "LEDGER_LOCAL_KEY_ALLOWED": "true"}, "LEDGER_ORIGIN"),
            ({}, "LEDGER_KMS_KEY"),
        ],
    )
    def test_a_deployed_ledger_without_a_key_or_a_name_does_not_start(
        self, database: FirestoreClient, tmp_path: Path, clock: HandClock, settings: dict[str, str], named: str
    ) -> None:
        with pytest.raises(SettingsError, match=named):
            audit_in_hand(database, tmp_path, clock, K_SERVICE="audit", **settings)
