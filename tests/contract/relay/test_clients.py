"""The Python client and the command line, against the running relay."""

from __future__ import annotations

import json
import threading
from itertools import islice
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_mesh import RelayClient
from agent_mesh.cli._app import app
from agent_mesh.client import ConnectionFailed, ProblemError, RelayGap
from tests.contract.mesh import unique
from tests.contract.relay.reader import RELAY, Relay


@pytest.fixture
def client(relay: Relay) -> RelayClient:
    return RelayClient.from_stack(relay.mesh.stack.logs.parent / "stack.json")


def test_a_client_publishes_watches_and_looks(client: RelayClient) -> None:
    topic = unique("t")
    with client:
        first = client.publish(topic, {"n": 1}, idempotency_key="k")
        assert client.publish(topic, {"n": 1}, idempotency_key="k") == first
        later = threading.Timer(0.3, lambda: client.publish(topic, {"n": 2}))
        later.start()
        watch = client.watch(topic)
        seen = [event.payload for event in islice(watch, 2) if not isinstance(event, RelayGap)]
        later.join()
        assert seen == [{"n": 1}, {"n": 2}]
        (again,) = islice(client.watch(topic, last_event_id=first.event_id), 1)
        assert not isinstance(again, RelayGap)
        assert again.id == watch.last_event_id
        assert [message.payload for message in client.history(topic).messages] == seen
        assert client.presence(topic).count >= 0
        assert topic in client.topics()


def test_a_watch_survives_the_instance_that_it_reads_from(relay: Relay, client: RelayClient) -> None:
    topic = unique("t")
    relay.published(topic, 1)
    seen = iter(client.watch(topic))
    next(seen)
    relay.mesh.stack.restart(RELAY)
    relay.published(topic, 2)
    event = next(seen)
    assert not isinstance(event, RelayGap)
    assert event.payload == {"n": 2}


def test_a_refusal_ends_a_watch_and_no_relay_is_a_failed_connection(client: RelayClient) -> None:
    with pytest.raises(ProblemError, match="invalid_request"):
        next(iter(client.watch("a b")))
    with pytest.raises(ConnectionFailed):
        next(iter(RelayClient("http://127.0.0.1:1", tokens=client._exchange.tokens).watch("a", patience_s=0)))


def test_the_command_line_publishes_and_watches(relay: Relay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(relay.mesh.stack.logs.parent.parent)
    topic, file = unique("t"), tmp_path / "message.json"
    file.write_text('{"text": "hello"}')
    published = CliRunner().invoke(app, ["relay", "publish", topic, str(file), "--json"])
    assert published.exit_code == 0, published.output
    stdin = CliRunner().invoke(app, ["relay", "publish", topic, "-"], input='{"n": 2}')
    assert "Published as" in stdin.stdout
    lines = CliRunner().invoke(app, ["relay", "watch", topic, "--count", "2", "--json"]).stdout.splitlines()
    assert [json.loads(line)["payload"] for line in lines] == [{"text": "hello"}, {"n": 2}]
    assert json.loads(lines[0])["id"] == json.loads(published.stdout)["event_id"]
    shown = CliRunner().invoke(app, ["relay", "watch", topic, "--count", "1"])
    assert shown.stdout.split(" ", 2)[1:] == [topic, '{"text": "hello"}\n']


def test_of_an_event_a_person_sees_the_subject_and_what_it_says(
    relay: Relay, client: RelayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(relay.mesh.stack.logs.parent.parent)
    topic = unique("t")
    client.publish(topic, {"specversion": "1.0", "id": "ev_1", "subject": "tx_1", "data": {"decision": "deny"}})
    shown = CliRunner().invoke(app, ["relay", "watch", topic, "--count", "1"])
    assert shown.stdout.split(" ", 1)[1] == f'{topic} tx_1 {{"decision": "deny"}}\n'


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, '"text"'])
def test_a_file_that_holds_no_object_is_not_sent(text: str) -> None:
    refused = CliRunner().invoke(app, ["relay", "publish", "a", "-"], input=text)
    assert refused.exit_code == 2
    assert "FILE" in refused.stderr
