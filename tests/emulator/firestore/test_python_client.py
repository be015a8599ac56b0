"""The unmodified Python client."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from google.cloud import firestore as client_library

from emulator.firestore.server import FirestoreServer


@pytest.fixture
def client(shared_server: FirestoreServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", shared_server.address)
    return client_library.Client(project=f"client-{id(request)}")


def test_a_contended_transaction_is_retried_until_it_succeeds(client: Any) -> None:
    counter = client.collection("c").document("counter")

    @client_library.transactional
    def count(transaction: Any) -> None:
        found = counter.get(transaction=transaction)
        transaction.set(counter, {"n": (found.get("n") if found.exists else 0) + 1})

    threads = [threading.Thread(target=count, args=(client.transaction(max_attempts=50),)) for _ in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert counter.get().to_dict() == {"n": 12}


def test_a_listener_is_called_with_every_change(client: Any) -> None:
    seen: list[list[str]] = []
    changed = threading.Condition()

    def note(_documents: Any, changes: Any, _time: Any) -> None:
        with changed:
            seen.append([f"{each.type.name} {each.document.id}" for each in changes])
            changed.notify()

    watch = client.collection("c").where(filter=client_library.FieldFilter("n", ">", 0)).on_snapshot(note)
    with changed:
        assert changed.wait_for(lambda: seen == [[]], 10)
        client.document("c/a").set({"n": 1})
        assert changed.wait_for(lambda: seen[1:] == [["ADDED a"]], 10)
        client.document("c/a").delete()
        assert changed.wait_for(lambda: seen[2:] == [["REMOVED a"]], 10)
    watch.unsubscribe()
