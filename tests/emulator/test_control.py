from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import Aborted

from emulator.control import as_bytes, as_text, perform
from emulator.firestore.control import RemoteControl as RemoteFirestore
from emulator.firestore.protocol import ListDocumentsResponse
from emulator.firestore.server import FirestoreServer
from emulator.pubsub.control import PubsubControl, RemoteControl
from emulator.pubsub.faults import CallFault, Duplicate, Reorder
from emulator.pubsub.server import PubsubServer
from tests.emulator.firestore.raw import RawFirestore
from tests.emulator.pubsub.conftest import SIZES, Place

GARBAGE = [b"", b"x", b"garbage" * 1000]


@pytest.fixture
def pubsub() -> Iterator[PubsubServer]:
    """A server for one test alone."""
    with PubsubServer() as running:
        yield running


@pytest.fixture(params=["in process", "from elsewhere"])
def control(pubsub: PubsubServer, request: pytest.FixtureRequest) -> Iterator[PubsubControl]:
    """Its control, both ways: they offer the same."""
    if request.param == "in process":
        yield pubsub
        return
    remote = RemoteControl(pubsub.address)
    yield remote
    remote.close()


@pytest.fixture
def place(pubsub: PubsubServer) -> Iterator[Place]:
    with grpc.insecure_channel(pubsub.address, options=SIZES) as channel:
        yield Place(channel)


def refusal(act: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        act()
    error: Any = caught.value
    return error.code(), error.details()


def test_acts_are_done_by_name_at_once_or_awaited() -> None:
    async def later(text: str) -> str:
        await asyncio.sleep(0)
        return text

    acts = {"now": lambda text: text, "later": later}
    assert [asyncio.run(perform(acts, name, {"text": name})) for name in acts] == ["now", "later"]
    with pytest.raises(ValueError, match="there is no act 'never'; there are now, later"):
        asyncio.run(perform(acts, "never", {}))


def test_a_snapshot_passes_as_text() -> None:
    assert as_bytes(as_text(bytes(range(256)))) == bytes(range(256))
    with pytest.raises(ValueError, match="base64"):
        as_bytes("no base64!")


def test_a_snapshot_is_restored_and_everything_forgotten(control: PubsubControl, place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    snapshot = control.snapshot()
    assert control.usage()["totals"]["publishedMessages"] == 1
    control.reset()
    assert list(place.publisher.list_topics(project=place.project)) == []
    assert control.usage()["totals"]["publishedMessages"] == 0
    control.restore(snapshot)
    assert place.texts(subscription) == ["a"]


def test_a_snapshot_larger_than_a_usual_message_passes(control: PubsubControl, place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "x" * 6_000_000)
    snapshot = control.snapshot()
    control.reset()
    control.restore(snapshot)
    assert [len(text) for text in place.texts(subscription)] == [6_000_000]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_no_snapshot_is_refused_and_nothing_lost(control: PubsubControl, place: Place, garbage: bytes) -> None:
    topic = place.topic()
    with pytest.raises((ValueError, grpc.RpcError), match="no snapshot of a Pub/Sub server"):
        control.restore(garbage)
    assert place.publisher.get_topic(topic=topic).name == topic


@pytest.mark.parametrize("garbage", [b"x", b"garbage", ListDocumentsResponse(documents=[{"name": "x"}])])
def test_what_is_no_snapshot_of_firestore_is_refused_and_nothing_lost(garbage: Any) -> None:
    with FirestoreServer() as server:
        client = RawFirestore(server.address, "test")
        client.commit(client.update("c/a"))
        with pytest.raises(ValueError, match="no snapshot of a Firestore server"):
            server.restore(garbage if isinstance(garbage, bytes) else garbage.SerializeToString())
        assert client.get("c/a").name == client.name("c/a")
        client.close()


def test_every_kind_of_fault_can_be_planned(control: PubsubControl, place: Place) -> None:
    topic = place.topic()
    subscription = place.subscription(topic)
    control.inject(CallFault("Publish", grpc.StatusCode.ABORTED))
    with pytest.raises(Aborted, match="injected"):
        place.publisher.publish(request={"topic": topic, "messages": [{"data": b"a"}]}, retry=None)
    control.inject(Duplicate(subscription))
    place.publish(topic, "a")
    assert place.texts(subscription) == ["a", "a"]
    control.inject(Reorder(subscription))
    wanted = [str(number) for number in range(50)]
    place.publish(topic, *wanted)
    assert place.texts(subscription) != wanted


def test_the_clock_is_frozen_moved_and_let_go(control: PubsubControl, place: Place) -> None:
    control.freeze()
    topic = place.topic()
    subscription = place.subscription(topic)
    place.publish(topic, "a")
    assert place.texts(subscription) == ["a"]
    control.advance(9.9)
    assert place.texts(subscription) == []
    control.advance(0.2)
    assert place.texts(subscription) == ["a"]
    before = control.act("clock.now")
    assert control.act("clock.now") == before
    control.unfreeze()
    assert control.act("clock.now") > before


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("explode", {}, "there is no act 'explode'; there are reset, snapshot, "),
        ("clock.advance", {}, "missing 1 required positional argument: 'seconds'"),
        ("clock.advance", {"seconds": -1}, "only moves forward"),
        ("clock.advance", {"seconds": "soon"}, "could not convert"),
        ("clock.advance", {"seconds": float("nan")}, "only moves forward"),
        ("clock.advance", {"seconds": float("inf")}, "only moves forward"),
        ("inject", {"kind": "Quake"}, "there is no fault 'Quake'; there are CallFault, Duplicate, Reorder"),
        ("inject", {"kind": "CallFault", "code": "SLEEPY"}, "there is no gRPC status 'SLEEPY'"),
        ("inject", {"kind": "Duplicate"}, "missing 1 required positional argument: 'subscription'"),
        ("restore", {"snapshot": 1}, ""),
    ],
)
def test_a_wrong_request_is_an_invalid_argument_that_says_why(
    pubsub: PubsubServer, name: str, arguments: dict[str, Any], said: str
) -> None:
    remote = RemoteControl(pubsub.address)
    code, details = refusal(lambda: remote.act(name, **arguments))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert said in details
    remote.close()


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b"{}", b'{"act": {}}', b'{"act": "usage", "with": 5}'])
def test_a_body_that_names_no_act_is_an_invalid_argument(body: bytes) -> None:
    with FirestoreServer() as server, grpc.insecure_channel(server.address) as channel:
        call: Any = channel.unary_unary("/emulator.firestore.Control/Call")
        assert refusal(lambda: call(body, timeout=5))[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_firestore_is_controlled_the_same_way() -> None:
    with FirestoreServer() as server:
        remote = RemoteFirestore(server.address)
        for control in (server, remote):
            control.restore(control.snapshot())
            control.require_indexes(wanted=False)
            assert (control.sweep(), control.usage()["totals"]["writes"]) == (0, 0)
            code = control.act("clock.stop", at=5.0)
            assert (code, control.act("clock.now")) == (None, 5_000_000)
            control.act("clock.run")
        remote.close()
