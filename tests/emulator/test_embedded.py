"""The stack on the embedded cloud: Pub/Sub pushes itself, and what it kept survives restarts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from emulator.delivery.messages import Message
from emulator.pubsub_wire import PubSubWire
from emulator.stack import LocalStack, StackOptions

pytestmark = pytest.mark.stack
HERE = Path(__file__).parent
Eventually = Callable[..., Any]
Fetch = Callable[[str], Any]


def options(state: Path, **given: Any) -> StackOptions:
    return StackOptions(state_dir=state, roles_file=HERE / "roles.json", root=HERE, cloud="embedded", **given)


def publish(stack: LocalStack, agent: str, *texts: str) -> None:
    wire = PubSubWire(stack.pubsub)
    messages = [Message("", text.encode(), "", {"agent": agent}) for text in texts]
    wire.publish("projects/mesh-local/topics/work", messages)
    wire.close()


def attempts(stack: LocalStack, fetch: Fetch, role: str) -> dict[str, int | None]:
    """The texts that a role received, each with its last delivery attempt."""
    return {one["text"]: one["body"].get("deliveryAttempt") for one in fetch(stack.url(role) + "/seen") if one["text"]}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack that keeps its state."""
    with LocalStack(options(tmp_path_factory.mktemp("kept"), keep=True)) as running:
        yield running


def test_there_is_no_bridge(kept: LocalStack) -> None:
    assert kept.pids().keys() == {"firestore", "pubsub", "alpha", "beta_two"}
    assert "bridge" not in kept.document()
    assert not (kept.logs / "bridge.log").exists()


def test_nothing_is_lost_when_pubsub_is_restarted(kept: LocalStack, eventually: Eventually, fetch: Fetch) -> None:
    texts = [f"kept {number}" for number in range(20)]
    eventually(lambda: kept.deliveries()["work-alpha"]["leased"] == 0)  # what another test sent
    kept.hold_deliveries()
    publish(kept, "alpha", *texts)
    kept.restart("pubsub")
    time.sleep(0.3)
    counts = kept.deliveries()["work-alpha"]
    assert (counts["leased"], counts["pushed"]) == (20, 0), "it is still held"
    kept.release_deliveries()
    eventually(lambda: attempts(kept, fetch, "alpha").keys() >= set(texts))
    assert {attempts(kept, fetch, "alpha")[text] for text in texts} == {1}


def test_pubsub_that_dies_comes_back_and_pushes(kept: LocalStack, eventually: Eventually, fetch: Fetch) -> None:
    before = kept.pids()["pubsub"]
    os.killpg(before, signal.SIGKILL)
    eventually(lambda: kept.pids().get("pubsub", before) != before)
    kept.start("pubsub")
    publish(kept, "alpha", "after its death")
    eventually(lambda: "after its death" in attempts(kept, fetch, "alpha"))


def test_a_reset_and_a_restore_over_the_console_leave_a_stack_that_delivers(
    kept: LocalStack, eventually: Eventually, fetch: Fetch
) -> None:
    def act(name: str, body: object) -> Any:
        headers = {"Content-Type": "application/json"}
        answer = urllib3.request("POST", f"{kept.console_url}/_local/{name}", json=body, headers=headers, retries=False)
        assert answer.status == 200, answer.data
        return answer.json()

    kept.hold_deliveries()
    publish(kept, "alpha", "in the snapshot")
    snapshots = act("snapshot", {})
    act("reset", {"services": ["pubsub"]})
    assert kept.deliveries()["work-alpha"]["leased"] == 0
    publish(kept, "alpha", "after the reset")
    time.sleep(0.2)
    assert kept.deliveries()["work-alpha"]["pushed"] == 0, "it is still held"
    kept.release_deliveries()
    eventually(lambda: "after the reset" in attempts(kept, fetch, "alpha"))
    act("restore", snapshots)
    eventually(lambda: "in the snapshot" in attempts(kept, fetch, "alpha"))
    publish(kept, "alpha", "after the restore")
    eventually(lambda: "after the restore" in attempts(kept, fetch, "alpha"))


def test_failed_pushes_are_logged(kept: LocalStack, eventually: Eventually) -> None:
    publish(kept, "alpha", "fail:1")
    eventually(lambda: '"push.failed"' in (kept.logs / "pubsub.log").read_text())


def test_without_state_a_restarted_pubsub_has_its_subscriptions_again(
    tmp_path: Path, eventually: Eventually, fetch: Fetch
) -> None:
    with LocalStack(options(tmp_path, only=("alpha",))) as stack:
        stack.restart("pubsub")
        publish(stack, "alpha", "hello")
        eventually(lambda: "hello" in attempts(stack, fetch, "alpha"))


def test_messages_of_an_earlier_run_reach_the_functions_of_this_one(
    tmp_path: Path, eventually: Eventually, fetch: Fetch
) -> None:
    state = tmp_path / "mesh"
    with LocalStack(options(state, keep=True)) as first:
        before = first.url("alpha"), first.pubsub
        first.hold_deliveries()
        publish(first, "alpha", "from before")
    (state / "ports.json").unlink()
    with LocalStack(options(state, keep=True, only=("beta_two",))) as without:
        time.sleep(0.3)
        assert set(without.deliveries()) == {"work-beta", "work-dead"}
        publish(without, "alpha", "while it was away")
    (state / "ports.json").unlink()
    with LocalStack(options(state, keep=True)) as second:
        assert (second.url("alpha"), second.pubsub) != before
        eventually(lambda: len(attempts(second, fetch, "alpha")) == 2)
        assert attempts(second, fetch, "alpha") == {"from before": 1, "while it was away": 1}
