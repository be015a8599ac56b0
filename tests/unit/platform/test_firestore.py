"""Firestore as the mesh uses it: conditions instead of transactions, and errors of our own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from google.api_core import exceptions as google_errors
from google.cloud.firestore import FieldFilter
from pytest_mock import MockerFixture

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.firestore import (
    Exists,
    FirestoreClient,
    LostRace,
    Missing,
    firestore_errors,
    until_settled,
)
from agent_mesh.platform.logs import current_trace
from agent_mesh.platform.trace import trace_for
from emulator.embedded import INDEXES
from emulator.firestore.options import FirestoreOptions
from emulator.firestore.server import FirestoreServer


def test_what_is_created_twice_is_there_already(database: FirestoreClient) -> None:
    document = database.collection("things").document("a")
    document.create({"n": 1})
    with pytest.raises(Exists), firestore_errors():
        document.create({"n": 2})


def test_what_is_not_there_cannot_be_updated(database: FirestoreClient) -> None:
    with pytest.raises(Missing), firestore_errors():
        database.collection("things").document("nothing").update({"n": 1})


def test_whoever_writes_what_has_changed_since_loses(database: FirestoreClient) -> None:
    document = database.collection("things").document("a")
    read = document.create({"n": 1})
    document.update({"n": 2})
    batch = database.batch()
    batch.update(document, {"n": 3}, option=database.unchanged_since(read.update_time))
    with pytest.raises(LostRace), firestore_errors():
        batch.commit()
    assert document.get().to_dict() == {"n": 2}


def test_a_query_without_its_index_is_a_defect_and_no_lost_race(monkeypatch: pytest.MonkeyPatch) -> None:
    with FirestoreServer(FirestoreOptions(indexes=INDEXES)) as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.address)
        things = FirestoreClient("undeclared").collection("things")
        query = things.where(filter=FieldFilter("a", "==", 1)).order_by("b")
        with pytest.raises(google_errors.FailedPrecondition, match="requires an index"), firestore_errors():
            query.get()


def test_one_client_serves_a_process(database: FirestoreClient) -> None:
    assert database.client is database.client


def test_a_local_firestore_learns_the_trace_of_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with FirestoreServer() as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.address)
        things = FirestoreClient("traced").collection("things")
        things.document("a").set({"n": 1})
        token = current_trace.set(trace_for("a" * 32))
        things.document("a").set({"n": 2})
        list(things.where(filter=FieldFilter("n", ">", 0)).stream())
        current_trace.reset(token)
        things.document("a").get()
        usage: Any = server.usage()
    (line,) = usage["traces"]["shown"]
    assert (line["trace"], line["writes"], line["reads"]) == ("a" * 32, 1, 1)
    assert (usage["traces"]["untraced"]["writes"], usage["traces"]["untraced"]["reads"]) == (1, 1)


def test_production_has_the_published_client(monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> None:
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    published = mocker.patch("google.cloud.firestore.Client")
    assert FirestoreClient("p").client is published.return_value


def test_a_client_without_a_project_takes_the_environments(
    database: FirestoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "from-the-environment")
    assert FirestoreClient("").client.project == "from-the-environment"


@pytest.mark.parametrize(
    "kind",
    [
        google_errors.ServiceUnavailable,
        google_errors.DeadlineExceeded,
        google_errors.InternalServerError,
        google_errors.ResourceExhausted,
        partial(google_errors.RetryError, cause=None),
    ],
)
def test_an_outage_is_unavailable_and_says_when_to_ask_again(kind: Callable[[str], Exception]) -> None:
    error = kind("x")
    with pytest.raises(Unavailable) as refused, firestore_errors():
        raise error
    assert refused.value.retry_after_s == 1
    assert refused.value.__cause__ is error


@pytest.mark.parametrize("kind", [google_errors.Aborted, google_errors.FailedPrecondition])
def test_a_condition_that_fails_is_a_lost_race_and_nothing_more(kind: Callable[[str], Exception]) -> None:
    with pytest.raises(LostRace) as lost, firestore_errors():
        raise kind("x")
    assert type(lost.value) is LostRace


@pytest.mark.parametrize("kind", [google_errors.PermissionDenied, ValueError])
def test_any_other_error_is_a_defect_and_stays_what_it_is(kind: type[Exception]) -> None:
    with pytest.raises(kind), firestore_errors():
        raise kind("x")


def test_a_lost_race_is_run_again() -> None:
    tries = []

    def step() -> str:
        tries.append(1)
        if len(tries) < 16:
            raise LostRace
        return "done"

    assert until_settled(step) == "done"
    assert len(tries) == 16


def test_races_lost_without_end_are_unavailable() -> None:
    def step() -> None:
        raise Exists

    with pytest.raises(Unavailable, match="Too many others"):
        until_settled(step)


def test_an_error_is_not_tried_again() -> None:
    tries = []

    def step() -> None:
        tries.append(1)
        raise ValueError

    with pytest.raises(ValueError):
        until_settled(step)
    assert len(tries) == 1
