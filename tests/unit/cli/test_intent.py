"""`agent-mesh intent publish`: what reaches the relay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_mesh.contracts.policy import AccessIntent
from agent_mesh.contracts.problems import Forbidden
from tests.policies import INTENT
from tests.unit.cli.conftest import Run
from tests.unit.client.stub_mesh import Answer, Asked, StubMesh, refusal

SAMPLES = Path(__file__).resolve().parents[3] / "examples" / "intents"


@pytest.fixture
def relay(stub: StubMesh, tmp_path: Path) -> StubMesh:
    """A relay that takes everything."""
    functions = {"relay": {"url": stub.url, "audience": "relay-audience"}}
    stub.write_stack(tmp_path, functions=functions)
    stub.rules["POST /publish"] = lambda _: Answer({"status": "ok", "event_id": str(len(published(stub)))})
    return stub


def published(stub: StubMesh) -> list[Asked]:
    return [asked for asked in stub.asked if asked.path == "/publish"]


def test_the_sample_is_published_as_it_is(relay: StubMesh, run: Run) -> None:
    done = run("intent", "publish", str(SAMPLES / "sample.json"))
    (asked,) = published(relay)
    sample = json.loads((SAMPLES / "sample.json").read_text())
    assert (done.code, asked.body) == (0, {"topic": "access.intent", "payload": sample})
    assert sample["tx_id"] in done.out
    assert "agent-mesh relay watch mesh.access.decided" in done.err


def test_each_line_is_an_intent_and_gets_a_transaction(relay: StubMesh, run: Run) -> None:
    done = run("intent", "publish", str(SAMPLES / "mixed.jsonl"), "--json")
    answered = json.loads(done.out)["published"]
    sent = [AccessIntent.model_validate_json(json.dumps(asked.body["payload"])) for asked in published(relay)]
    assert len(sent) == 4
    assert [one["tx_id"] for one in answered] == [intent.tx_id for intent in sent]
    assert len({intent.tx_id for intent in sent}) == 4


@pytest.mark.parametrize(
    "text", [json.dumps([INTENT, INTENT]), json.dumps(INTENT) + "\n\n" + json.dumps(INTENT) + "\n"]
)
def test_a_list_and_lines_are_the_same(relay: StubMesh, run: Run, text: str) -> None:
    assert run("intent", "publish", "-", stdin=text).code == 0
    assert [asked.body["payload"]["subject"] for asked in published(relay)] == [INTENT["subject"]] * 2


def test_null_is_published_as_null(relay: StubMesh, run: Run) -> None:
    body: dict[str, Any] = {**INTENT, "context": {"session_risk": None}}
    run("intent", "publish", "-", stdin=json.dumps(body))
    assert published(relay)[0].body["payload"]["context"] == {"session_risk": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no intent"),
        ("[]", "no intent"),
        ("{", "neither JSON nor JSON Lines"),
        ("{}", "intent 1, subject"),
        (json.dumps([INTENT, 7]), "intent 2"),
        (json.dumps({**INTENT, "tx_id": "a b"}), "tx_id"),
    ],
)
def test_nothing_is_published_of_a_file_with_a_fault(relay: StubMesh, run: Run, text: str, said: str) -> None:
    done = run("intent", "publish", "-", stdin=text)
    assert (done.code, published(relay)) == (2, [])
    assert said in done.err


def test_a_refusal_of_the_relay_is_explained(relay: StubMesh, run: Run) -> None:
    relay.rules["POST /publish"] = refusal(Forbidden("not you"))
    done = run("intent", "publish", str(SAMPLES / "sample.json"))
    assert (done.code, "not you" in done.err) == (1, True)


def test_a_deployed_mesh_needs_the_address_of_the_function(prod: StubMesh, run: Run) -> None:
    done = run("intent", "publish", str(SAMPLES / "sample.json"), "--env", "prod")
    assert (done.code, "does not know its function" in done.err) == (2, True)
    prod.rules["POST /publish"] = Answer({"status": "ok", "event_id": "7"})
    done = run("intent", "publish", str(SAMPLES / "sample.json"), "--env", "prod", "--url", prod.url)
    assert (done.code, "event 7" in done.out) == (0, True)
