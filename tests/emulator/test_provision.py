from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.delivery.messages import Message
from emulator.errors import StartError
from emulator.identities import Identities
from emulator.provision import (
    LEASE_SECONDS,
    Resources,
    differing,
    leased_resources,
    provision,
    pushed_resources,
)
from emulator.pubsub.protos import Proto, Subscription, Topic, seconds
from emulator.pubsub.server import PubsubServer
from emulator.pubsub_wire import PubSubWire
from emulator.topology import Parked, Topology, load_topology
from tests.conftest import CloudAddresses

PROJECT = "mesh-local"
WHO = Identities(PROJECT)
URLS = {"alpha": "http://127.0.0.1:9001", "beta_two": "http://127.0.0.1:9002"}
ALPHA = f"projects/{PROJECT}/subscriptions/work-alpha"
WORK = f"projects/{PROJECT}/topics/work"


@pytest.fixture
def topology(roles_file: Path) -> Topology:
    return load_topology(roles_file)


@pytest.fixture
def server() -> Iterator[PubsubServer]:
    """A server that pushes nothing, so that messages can be counted."""
    with PubsubServer() as running:
        running.hold_pushes()
        yield running


@pytest.fixture
def wire(server: PubsubServer) -> Iterator[PubSubWire]:
    connected = PubSubWire(server.address)
    yield connected
    connected.close()


def changed(topology: Topology, change: Callable[[dict[str, Any]], None]) -> Topology:
    """The same file after an edit."""
    document = topology.model_dump(mode="json", by_alias=True)
    change(document)
    return Topology.model_validate_json(json.dumps(document))


def named(resources: Resources, name: str) -> Proto:
    (found,) = [one for one in resources.subscriptions if one.name.endswith(f"/{name}")]
    return found


def changes(server: PubsubServer) -> dict[str, int]:
    """How often something was created, updated or deleted."""
    methods = server.usage()["byMethod"].items()
    return {name: line["requests"] for name, line in methods if name.startswith(("Create", "Update", "Delete"))}


def waiting(server: PubsubServer, subscription: str = ALPHA) -> int:
    return server.deliveries()[subscription]["leased"]


def publish(wire: PubSubWire, **attributes: str) -> None:
    wire.publish(WORK, [Message("", b"text", "", attributes)])


def test_a_subscription_has_what_the_roles_file_says(topology: Topology) -> None:
    resources = pushed_resources(topology, WHO, URLS)
    assert [topic.name.rpartition("/")[2] for topic in resources.topics] == ["work", "work-dead", "ordered"]
    alpha, ordered = named(resources, "work-alpha"), named(resources, "ordered")
    assert (alpha.topic, alpha.filter, alpha.ack_deadline_seconds) == (WORK, 'attributes.agent = "alpha"', 30)
    assert alpha.dead_letter_policy.dead_letter_topic == f"projects/{PROJECT}/topics/work-dead"
    assert alpha.dead_letter_policy.max_delivery_attempts == 5
    push = alpha.push_config
    assert push.push_endpoint == "http://127.0.0.1:9001/push"
    assert push.oidc_token.audience == "http://127.0.0.1:9001"
    assert push.oidc_token.service_account_email == "push-work-alpha@mesh-local.iam.gserviceaccount.com"
    assert (ordered.enable_message_ordering, ordered.HasField("dead_letter_policy")) == (True, False)
    assert seconds(ordered.message_retention_duration) == 604800


def test_the_retry_policy_is_the_local_one(topology: Topology) -> None:
    local = named(pushed_resources(topology, WHO, URLS), "work-alpha").retry_policy
    assert (seconds(local.minimum_backoff), seconds(local.maximum_backoff)) == (0.05, 0.2)
    plain = changed(topology, lambda document: document.update(local={}))
    deployed = named(pushed_resources(plain, WHO, URLS), "work-alpha").retry_policy
    assert (seconds(deployed.minimum_backoff), seconds(deployed.maximum_backoff)) == (10, 600)


def test_without_a_running_role_it_is_a_pull_subscription(topology: Topology) -> None:
    resources = pushed_resources(topology, WHO, {"beta_two": URLS["beta_two"]})
    assert not named(resources, "work-alpha").HasField("push_config")
    assert named(resources, "work-beta").push_config.push_endpoint


def test_behind_the_bridge_it_only_leases(topology: Topology) -> None:
    resources = leased_resources(topology, PROJECT)
    alpha = named(resources, "work-alpha")
    assert (alpha.ack_deadline_seconds, alpha.filter) == (LEASE_SECONDS, "")
    assert not alpha.HasField("push_config")
    assert not alpha.HasField("dead_letter_policy")
    assert named(resources, "ordered").enable_message_ordering


def test_the_real_roles_file_is_accepted_by_pubsub(server: PubsubServer, wire: PubSubWire) -> None:
    real = load_topology(Path(__file__).parents[2] / "infra" / "roles.json")
    urls = dict.fromkeys(real.roles, "http://127.0.0.1:9")
    provision(wire, pushed_resources(real, WHO, urls), 5)
    assert len(server.deliveries()) == len(real.subscriptions)


def test_differing_names_the_fields() -> None:
    present = Subscription(topic="t", ack_deadline_seconds=10, push_config={})
    wanted = Subscription(topic="t", ack_deadline_seconds=20, push_config={"push_endpoint": "http://a"})
    assert differing(present, present) == []
    assert differing(present, Subscription(topic="t", ack_deadline_seconds=10)) == []
    assert differing(present, wanted) == ["push_config", "ack_deadline_seconds"]
    assert differing(present, Subscription(topic="u", filter="f", ack_deadline_seconds=10)) == ["topic", "filter"]


def test_a_second_time_changes_nothing(server: PubsubServer, wire: PubSubWire, topology: Topology) -> None:
    resources = pushed_resources(topology, WHO, URLS)
    provision(wire, resources, 5)
    publish(wire, agent="alpha")
    before = changes(server)
    assert before == {"CreateTopic": 3, "CreateSubscription": 4}
    provision(wire, resources, 5)
    assert (changes(server), waiting(server)) == (before, 1)


def test_another_port_is_an_update_that_keeps_messages(
    server: PubsubServer, wire: PubSubWire, topology: Topology
) -> None:
    provision(wire, pushed_resources(topology, WHO, URLS), 5)
    publish(wire, agent="alpha")
    provision(wire, pushed_resources(topology, WHO, URLS | {"alpha": "http://127.0.0.1:9003"}), 5)
    assert changes(server)["UpdateSubscription"] == 2
    assert waiting(server) == 1
    (alpha,) = [one for one in wire.subscriptions(PROJECT) if one.name == ALPHA]
    assert alpha.push_config.push_endpoint == "http://127.0.0.1:9003/push"
    assert alpha.push_config.oidc_token.audience == "http://127.0.0.1:9003"


def test_everything_that_can_change_is_changed(server: PubsubServer, wire: PubSubWire, topology: Topology) -> None:
    provision(wire, pushed_resources(topology, WHO, URLS), 5)

    def edit(document: dict[str, Any]) -> None:
        document["local"] = {}
        document["subscriptions"]["work-alpha"] |= {
            "ackDeadlineSeconds": 60,
            "messageRetentionSeconds": 3600,
            "deadLetter": None,
        }

    wanted = pushed_resources(changed(topology, edit), WHO, {})
    provision(wire, wanted, 5)
    present = {one.name: one for one in wire.subscriptions(PROJECT)}
    assert [differing(present[one.name], one) for one in wanted.subscriptions] == [[]] * 4
    assert changes(server) == {"CreateTopic": 3, "CreateSubscription": 4, "UpdateSubscription": 4}


@pytest.mark.parametrize("edit", [{"filter": 'attributes.agent = "omega"'}, {"ordering": True}, {"topic": "ordered"}])
def test_what_cannot_change_is_made_anew(
    server: PubsubServer, wire: PubSubWire, topology: Topology, edit: dict[str, Any]
) -> None:
    provision(wire, pushed_resources(topology, WHO, URLS), 5)
    publish(wire, agent="alpha")
    other = changed(topology, lambda document: document["subscriptions"]["work-alpha"].update(edit))
    provision(wire, pushed_resources(other, WHO, URLS), 5)
    assert changes(server)["DeleteSubscription"] == 1
    assert waiting(server) == 0
    publish(wire, agent="omega")
    assert waiting(server) == ("filter" in edit)


def test_what_the_file_names_no_longer_goes_and_what_others_made_stays(wire: PubSubWire, topology: Topology) -> None:
    provision(wire, pushed_resources(topology, WHO, URLS), 5)
    mine, others = f"projects/{PROJECT}/topics/mine", f"projects/{PROJECT}/subscriptions/mine"
    wire.create_topic(Topic(name=mine))
    wire.create_subscription(Subscription(name=others, topic=mine))

    def edit(document: dict[str, Any]) -> None:
        del document["subscriptions"]["ordered"]
        document["topics"].remove("ordered")
        document["roles"]["alpha"]["allow"] = {}

    smaller = pushed_resources(changed(topology, edit), WHO, URLS)
    provision(wire, smaller, 5)
    assert {one.name for one in wire.subscriptions(PROJECT)} == {one.name for one in smaller.subscriptions} | {others}
    assert {one.name for one in wire.topics(PROJECT)} == {one.name for one in smaller.topics} | {mine}


def test_nothing_expires_however_long_nobody_pulls_it(
    server: PubsubServer, wire: PubSubWire, topology: Topology
) -> None:
    parked = topology.model_copy(update={"parked": {"left": Parked(topic="work", message_retention_seconds=600)}})
    resources = pushed_resources(parked, WHO, {})
    provision(wire, resources, 5)
    wanted = {one.name for one in resources.subscriptions}
    with_default = Subscription(name=f"projects/{PROJECT}/subscriptions/idle", topic=WORK)
    wire.create_subscription(with_default)
    server.advance(40 * 24 * 3600)
    assert {one.name for one in wire.subscriptions(PROJECT)} == wanted


def test_a_refusal_is_told(wire: PubSubWire) -> None:
    wrong = Resources(PROJECT, [Topic(name="no name")], [])
    with pytest.raises(StartError, match=r"(?s)refuses a topic or subscription.*Invalid \[topics\] name"):
        provision(wire, wrong, 5)


def test_a_server_that_is_not_there_is_told() -> None:
    wire = PubSubWire("127.0.0.1:9")
    with pytest.raises(StartError, match=r"does not answer within 0\.1 s"):
        provision(wire, Resources(PROJECT, [], []), 0.1)
    wire.close()


def test_behind_the_bridge_a_second_time_changes_nothing(local_cloud: CloudAddresses, topology: Topology) -> None:
    """On whichever cloud the tests run: each has its own way to fill in what was left out."""
    wire = PubSubWire(local_cloud.pubsub)
    resources = leased_resources(topology, "leased")
    provision(wire, resources, 10)
    present = {one.name: one for one in wire.subscriptions("leased")}
    assert [differing(present[one.name], one) for one in resources.subscriptions] == [[]] * 4
    provision(wire, resources, 10)
    wire.close()


def test_what_is_parked_waits_with_either_cloud(topology: Topology) -> None:
    month, week = 31 * 86400, 7 * 86400
    parked = topology.model_copy(update={"parked": {"left": Parked(topic="work", message_retention_seconds=month)}})
    for resources, longest in ((pushed_resources(parked, WHO, {}), month), (leased_resources(parked, PROJECT), week)):
        kept = named(resources, "left")
        assert (kept.topic, kept.message_retention_duration.seconds) == (WORK, longest)
        assert not kept.push_config.push_endpoint
