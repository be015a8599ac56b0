from __future__ import annotations

import base64
import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from emulator.console.sources import Extras
from emulator.errors import StartError
from emulator.firestore.control import RemoteControl
from emulator.firestore.server import FirestoreServer
from tests.emulator.console.conftest import Caller, Start


@pytest.fixture
def server() -> Iterator[FirestoreServer]:
    with FirestoreServer() as running:
        yield running


@pytest.fixture
def controlled(start: Start, server: FirestoreServer) -> Iterator[Caller]:
    """A console that controls a Firestore of its own."""
    with closing(RemoteControl(server.address)) as control:
        extras = Extras(controls={"firestore": control}, usage=lambda question: {"asked": question, **control.usage()})
        yield start(firestore=server.address, extras=lambda: extras)


@pytest.fixture
def database(controlled: Caller, server: FirestoreServer, monkeypatch: pytest.MonkeyPatch) -> firestore.Client:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.address)
    return firestore.Client(project=controlled.project, credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]


def collections(caller: Caller) -> list[str]:
    return [each["id"] for each in caller.get("/_local/documents").json["collections"]]


def test_a_fault_strikes_the_next_call(controlled: Caller) -> None:
    fault = {"method": "ListCollectionIds", "code": "ABORTED", "count": 1}
    assert controlled.post("/_local/faults", {"service": "firestore", "fault": fault}).json["fault"] == fault
    refused = controlled.get("/_local/documents")
    assert refused.status == 409
    assert "injected fault" in refused.error
    assert controlled.get("/_local/documents").status == 200


def test_a_snapshot_brings_back_what_a_reset_forgot(controlled: Caller, database: firestore.Client) -> None:
    database.document("kept/a").set({"n": 1})
    kept = controlled.post("/_local/snapshot", {}).json
    assert controlled.post("/_local/reset", {}).json == {"reset": ["firestore"]}
    assert collections(controlled) == []
    assert controlled.post("/_local/restore", kept).json == {"restored": ["firestore"]}
    assert collections(controlled) == ["kept"]


def test_the_clock_is_moved_and_stopped(controlled: Caller, server: FirestoreServer) -> None:
    def now(**act: Any) -> dt.datetime:
        return dt.datetime.fromisoformat(controlled.post("/_local/clock", act).json["now"]["firestore"])

    machine = dt.datetime.now(dt.UTC)
    assert abs(now() - machine) < dt.timedelta(minutes=1)
    assert now(act="advance", seconds=3600) - machine > dt.timedelta(minutes=59)
    stopped = now(act="freeze")
    assert now(act="now") == stopped
    assert now(act="run") < stopped


def test_usage_is_asked_with_all_parameters(controlled: Caller) -> None:
    controlled.get("/_local/documents")
    report = controlled.get("/_local/usage?trace=abc&limit=3").json
    assert report["asked"] == {"trace": "abc", "limit": "3"}
    assert report["totals"]["reads"] == 1


@pytest.mark.parametrize(
    ("act", "body", "said"),
    [
        ("faults", {}, "service must be one of firestore, not None"),
        ("faults", {"service": ["firestore"]}, "service must be one of firestore"),
        ("faults", {"service": "firestore", "fault": "ABORTED"}, "fault must be an object"),
        ("faults", {"service": "firestore", "fault": {"code": "NONSENSE"}}, "no gRPC status 'NONSENSE'"),
        ("faults", {"service": "firestore", "fault": {"colour": "red"}}, "colour"),
        ("faults", {"service": "firestore", "fault": {"name": "Commit"}}, "name"),
        ("faults", {"service": "firestore", "fault": {"self": "Commit"}}, "self"),
        ("clock", {"act": "backwards"}, "act must be one of advance, freeze, now, run, not 'backwards'"),
        ("clock", {"act": ["now"]}, "act must be one of"),
        ("clock", {"act": "advance"}, "seconds must be a number above 0"),
        ("clock", {"act": "advance", "seconds": -1}, "seconds must be a number above 0"),
        ("clock", {"act": "advance", "seconds": "60"}, "seconds must be a number above 0"),
        ("clock", {"act": "advance", "seconds": True}, "seconds must be a number above 0"),
        ("restore", {}, "snapshots must be what /_local/snapshot answered"),
        ("restore", {"snapshots": {"other": ""}}, "snapshots must be what /_local/snapshot answered"),
        ("restore", {"snapshots": {"firestore": 7}}, "snapshots must be what /_local/snapshot answered"),
        ("reset", {"services": ["other"]}, "services must be a list of firestore"),
        ("reset", {"services": []}, "services must be a list of firestore"),
        ("reset", {"services": [["firestore"]]}, "services must be a list of firestore"),
        ("reset", [1], "must be a JSON object"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(controlled: Caller, act: str, body: object, said: str) -> None:
    refused = controlled.post(f"/_local/{act}", body)
    assert refused.status == 400
    assert said in refused.error


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(controlled: Caller, body: bytes) -> None:
    refused = controlled.ask("POST", "/_local/reset", body, {"Content-Type": "application/json"})
    assert refused.status == 400
    assert "no JSON" in refused.error


def test_a_snapshot_that_is_none_is_refused_and_nothing_lost(controlled: Caller, database: firestore.Client) -> None:
    database.document("kept/a").set({"n": 1})
    garbage = base64.b64encode(b"garbage").decode()
    refused = controlled.post("/_local/restore", {"snapshots": {"firestore": garbage}})
    assert refused.status == 400
    assert "no snapshot of a Firestore server" in refused.error
    assert collections(controlled) == ["kept"]


class Failing:
    """A control whose server forgot everything and then refused what the stack wants of it."""

    def act(self, name: str, /, **_arguments: object) -> Any:
        raise StartError(f"after {name} a topic is refused")


def test_a_stack_that_cannot_provision_again_says_so(start: Start) -> None:
    refused = start(extras=lambda: Extras(controls={"pubsub": Failing()})).post("/_local/reset", {})
    assert (refused.status, refused.error) == (503, "after reset a topic is refused")


@pytest.mark.parametrize("act", ["faults", "clock", "snapshot", "restore", "reset"])
def test_a_cloud_without_controls_says_so(start: Start, act: str) -> None:
    refused = start(cloud="official").post(f"/_local/{act}", {})
    assert refused.status == (400 if act == "faults" else 501)
    assert refused.status == 400 or "--cloud=embedded" in refused.error


def test_a_cloud_that_does_not_count_says_so(start: Start) -> None:
    refused = start(cloud="official").get("/_local/usage")
    assert refused.status == 501
    assert "the official cloud does not count" in refused.error


def test_extras_are_asked_for_once(start: Start) -> None:
    asked = []

    def extras() -> Extras:
        asked.append(threading.get_ident())
        return Extras()

    caller = start(extras=extras)
    assert asked == []
    for _ in range(2):
        assert caller.get("/_local/stack").json["controls"] == []
    assert len(asked) == 1
