"""What the server offers to tests: faults, the clock, snapshots, storage; and its life as a process."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import Aborted, GoogleAPICallError, NotFound, ServiceUnavailable
from google.pubsub_v1.types import PullRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.errors import StartError
from emulator.pubsub.broker import Broker
from emulator.pubsub.faults import CallFault, Duplicate, Reorder
from emulator.pubsub.server import PubsubOptions, PubsubServer
from emulator.pubsub.storage import Storage
from tests.emulator.pubsub.conftest import SIZES, Place

MALFORMED = st.one_of(st.binary(max_size=60), st.binary(max_size=30).map(lambda tail: b"\n\x05proje" + tail))


@pytest.fixture
def own() -> Iterator[PubsubServer]:
    """A server for one test alone."""
    with PubsubServer() as running:
        yield running


@pytest.fixture
def own_place(own: PubsubServer) -> Iterator[Place]:
    with grpc.insecure_channel(own.address, options=SIZES) as channel:
        yield Place(channel)


def test_a_fault_hits_the_method_so_often_and_no_other(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    server.inject(CallFault("Publish", grpc.StatusCode.ABORTED, count=2))
    place.publisher.get_topic(topic=topic)
    for _ in range(2):
        with pytest.raises(Aborted, match="injected"):
            place.publisher.publish(request={"topic": topic, "messages": [{"data": b"a"}]}, retry=None)
    assert place.publish(topic, "a")


def test_a_fault_can_hit_any_method_and_delay_it(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    server.inject(CallFault(code=grpc.StatusCode.UNAVAILABLE))
    with pytest.raises(ServiceUnavailable):
        place.publisher.get_topic(topic=topic, retry=None)
    server.inject(CallFault("GetTopic", latency=0.2))
    begun = time.monotonic()
    place.publisher.get_topic(topic=topic)
    assert time.monotonic() - begun >= 0.2


def test_deliveries_can_be_doubled_and_disordered(place: Place, server: PubsubServer) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    server.inject(Duplicate(subscription))
    place.publish(topic, "a", "b")
    assert place.texts(subscription) == ["a", "a", "b"]
    server.inject(Reorder(subscription))
    wanted = [str(number) for number in range(50)]
    place.publish(topic, *wanted)
    disordered = place.texts(subscription)
    assert disordered != wanted
    assert sorted(disordered) == sorted(wanted)


def test_a_frozen_clock_moves_only_by_hand(own: PubsubServer, own_place: Place) -> None:
    own.freeze()
    topic = own_place.topic()
    subscription = own_place.subscription(topic)
    own_place.publish(topic, "a")
    (first,) = own_place.pull(subscription)
    assert first.message.publish_time.timestamp() == pytest.approx(own.clock.now(), abs=1e-3)  # type: ignore[attr-defined]
    own.advance(9.9)
    assert own_place.pull(subscription) == []
    own.advance(0.2)
    assert own_place.texts(subscription) == ["a"]
    own.unfreeze()
    with pytest.raises(ValueError, match="only moves forward"):
        own.advance(-1)


def test_a_snapshot_restores_everything(own: PubsubServer, own_place: Place) -> None:
    topic = own_place.topic()
    subscription = own_place.subscription(topic, labels={"a": "b"})
    own_place.publish(topic, "a", "b")
    own_place.ack(subscription, own_place.pull(subscription, 1))
    kept = own.snapshot()
    own_place.ack(subscription, own_place.pull(subscription))
    own_place.publisher.delete_topic(topic=topic)
    own.restore(kept)
    assert own_place.settings(subscription).topic == topic
    assert own_place.texts(subscription) == ["b"]
    own_place.publish(topic, "c")
    assert own_place.texts(subscription) == ["c"]
    own.reset()
    with pytest.raises(NotFound):
        own_place.publisher.get_topic(topic=topic)


def test_a_stored_server_knows_everything_after_a_restart(tmp_path: Path) -> None:
    options = PubsubOptions(storage=tmp_path / "state" / "pubsub.db")
    with PubsubServer(options) as first, grpc.insecure_channel(first.address) as channel:
        place = Place(channel)
        topic = place.topic(message_retention_duration="3600s")
        subscription = place.subscription(topic)
        ids = place.publish(topic, "acked", "leased", "waiting")
        place.ack(subscription, place.pull(subscription, 1))
        place.pull(subscription, 1)
        snapshot = place.name("snapshots")
        place.subscriber.create_snapshot(request={"name": snapshot, "subscription": subscription})
    with PubsubServer(options) as second, grpc.insecure_channel(second.address) as channel:
        place = Place(channel)
        received = place.pull(subscription)
        assert [one.message.data for one in received] == [b"leased", b"waiting"]
        assert [one.message.message_id for one in received] == ids[1:]
        assert place.subscriber.get_snapshot(snapshot=snapshot).topic == topic
        assert not set(place.publish(topic, "next")) & set(ids)


def test_storage_of_another_version_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "pubsub.db"
    with closing(sqlite3.connect(file)) as stored:
        stored.execute("PRAGMA user_version = 7")
    with pytest.raises(StartError, match="has version 7, and this server reads 1"):
        PubsubServer(PubsubOptions(storage=file)).start()
    with closing(sqlite3.connect(file)) as stored:
        assert stored.execute("PRAGMA user_version").fetchone() == (7,)


def test_after_a_write_that_fails_the_next_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], eventually: Callable[..., Any]
) -> None:
    write, failures = Storage.write, [sqlite3.OperationalError("database or disk is full")]

    def once_full(storage: Storage, broker: Broker) -> None:
        if failures:
            raise failures.pop()
        write(storage, broker)

    monkeypatch.setattr(Storage, "write", once_full)
    file = tmp_path / "pubsub.db"
    with PubsubServer(PubsubOptions(storage=file)) as own, grpc.insecure_channel(own.address) as channel:
        topic = Place(channel).topic()
        with closing(sqlite3.connect(file)) as stored:
            eventually(lambda: ("topic", topic) in stored.execute("SELECT kind, name FROM resources").fetchall())
    assert '"storage.not_written"' in capsys.readouterr().err


def test_a_taken_port_says_so(server: PubsubServer) -> None:
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(StartError, match="cannot start on"):
        PubsubServer(PubsubOptions(port=port)).start()


def test_as_a_process_it_answers_within_half_a_second_and_ends_on_sigterm() -> None:
    begun = time.monotonic()
    command = [sys.executable, "-m", "emulator.pubsub", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().rpartition(" ")[2].strip()
        with grpc.insecure_channel(address) as channel:
            Place(channel).topic()
        assert time.monotonic() - begun < 5  # on a busy machine; the benchmark measures it
        process.terminate()
        assert process.wait(5) == 0


@pytest.mark.parametrize("service", ["Publisher", "Subscriber", "SchemaService"])
def test_malformed_requests_get_a_status_and_never_an_internal_error(
    server: PubsubServer, place: Place, service: str
) -> None:
    methods = {
        "Publisher": ["CreateTopic", "UpdateTopic", "Publish", "ListTopics", "DetachSubscription"],
        "Subscriber": ["CreateSubscription", "UpdateSubscription", "Acknowledge", "Seek", "CreateSnapshot"],
        "SchemaService": ["CreateSchema", "CommitSchema", "ValidateMessage", "ListSchemas"],
    }[service]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from(methods), MALFORMED)
    def send(method: str, request: bytes) -> None:
        try:
            place.raw(f"{service}/{method}")(request, timeout=5)
        except grpc.RpcError as error:
            assert error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}  # noqa: PT017

    send()
    server.call(lambda: None)


def test_an_unknown_method_is_unimplemented(place: Place) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        place.raw("Publisher/Nonsense")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_client_that_leaves_in_the_middle_frees_its_pull(
    place: Place, server: PubsubServer, eventually: Callable[..., object]
) -> None:
    subscription = place.subscription(place.topic())
    consumers = server.call(lambda: server.broker.subscriptions[subscription].consumers)
    with grpc.insecure_channel(server.address) as channel:
        pull = Place(channel).raw("Subscriber/Pull", PullRequest)
        waiting = pull.future(PullRequest(subscription=subscription, max_messages=1))
        eventually(lambda: len(consumers) == 1)
        assert not waiting.done()
    eventually(lambda: not consumers)


def test_errors_are_googles(place: Place) -> None:
    with pytest.raises(GoogleAPICallError) as caught:
        place.subscriber.acknowledge(subscription=place.name("subscriptions"), ack_ids=["a"])
    assert (caught.value.grpc_status_code, caught.value.message) == (
        grpc.StatusCode.NOT_FOUND,
        "Subscription does not exist",
    )
