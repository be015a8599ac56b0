"""`Agent`: how an agent is declared, and what is no declaration."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import flask
import pytest
from pydantic import BaseModel, JsonValue
from werkzeug.test import EnvironBuilder

import agent_mesh
from agent_mesh.agents.errors import TerminalError
from agent_mesh.agents.handlers import HandlerSignatureError, Priced
from agent_mesh.agents.sdk import Agent, AgentDeclarationError
from agent_mesh.platform.function_parts import FunctionParts
from tests.conftest import HandClock, RecordingPublisher
from tests.unit.agents.conftest import RUNNER, AgentInHand, Work
from tests.unit.platform.identities import Identities


class Word(BaseModel):
    """What is shouted."""

    text: str


@pytest.fixture
def in_hand(
    parts: FunctionParts, publisher: RecordingPublisher, clock: HandClock, identities: Identities
) -> AgentInHand:
    """A shouting agent, declared as its author would."""
    agent = Agent("light", price_cents=2, max_cost_cents=9, parts=parts)

    @agent.handler
    def shout(word: Word) -> Priced | str:
        if word.text == "?":
            raise TerminalError("nothing to shout")
        return Priced(word.text.upper(), 7) if word.text == "dear" else word.text.upper()

    assert shout(Word(text="a")) == "A"
    return AgentInHand(agent.function(), Work(), parts, publisher, clock, identities)


def test_a_function_becomes_an_agent(in_hand: AgentInHand) -> None:
    answer = in_hand.run(payload={"text": "hi"})
    assert (answer.status, answer.body["status"], answer.body["result"], answer.body["costCents"]) == (
        200,
        "succeeded",
        "HI",
        2,
    )


def test_a_handler_may_set_its_price(in_hand: AgentInHand) -> None:
    assert in_hand.run(payload={"text": "dear"}).body["costCents"] == 7
    assert in_hand.spent() == 7


def test_what_a_run_may_cost_is_what_is_checked(in_hand: AgentInHand) -> None:
    refused = in_hand.run(payload={"text": "hi"}, budgetCents=8)
    assert (refused.status, refused.code) == (402, "budget_exceeded")


@pytest.mark.parametrize(("payload", "code"), [({"word": "hi"}, "payload_invalid"), ({"text": "?"}, "agent_error")])
def test_a_payload_that_can_never_work_is_dead(in_hand: AgentInHand, payload: dict[str, str], code: str) -> None:
    answer = in_hand.run(payload=payload)
    assert (answer.body["status"], answer.body["error"]["code"]) == ("dead", code)


def test_an_agent_answers_functions_framework(parts: FunctionParts) -> None:
    agent = Agent("light", parts=parts, description="Shouts.")
    agent.handler(lambda payload: payload)
    response = agent.serve(flask.Request(EnvironBuilder(path="/openapi.json").get_environ()))
    assert json.loads(response.get_data())["info"]["description"] == "Shouts."


def test_an_agent_is_wired_once(parts: FunctionParts) -> None:
    agent = Agent("light", parts=parts)
    agent.handler(lambda payload: payload)
    with ThreadPoolExecutor(8) as pool:
        functions = list(pool.map(lambda _number: agent.function(), range(8)))
    assert len({id(function) for function in functions}) == 1


def test_an_agent_without_parts_is_wired_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_AUDIENCE", "https://light.example.com")
    agent = Agent("light")
    agent.handler(lambda payload: payload)
    assert agent.function().app.flask.name == "light"


def test_an_agent_has_one_handler(parts: FunctionParts) -> None:
    agent = Agent("light", parts=parts)

    @agent.handler
    def first(payload: dict[str, JsonValue]) -> JsonValue:
        return payload

    def second(payload: dict[str, JsonValue]) -> JsonValue:
        return payload

    with pytest.raises(AgentDeclarationError, match="has the handler first already"):
        agent.handler(second)


def test_an_agent_without_a_handler_says_how_to_get_one(parts: FunctionParts) -> None:
    with pytest.raises(AgentDeclarationError, match="decorate a function with @agent"):
        Agent("light", parts=parts).function()


def test_a_function_that_is_no_handler_is_refused_where_it_is_declared(parts: FunctionParts) -> None:
    agent = Agent("light", parts=parts)
    with pytest.raises(HandlerSignatureError):
        agent.handler(lambda: None)
    agent.handler(lambda payload: payload)


@pytest.mark.parametrize(("price", "maximum"), [(5, 4), (-1, None), (-1, 5), (None, -1)])
def test_a_price_fits_its_maximum(parts: FunctionParts, price: int | None, maximum: int | None) -> None:
    agent = Agent("light", price_cents=price, max_cost_cents=maximum, parts=parts)
    agent.handler(lambda payload: payload)
    with pytest.raises(AgentDeclarationError, match="does not fit a maximum"):
        agent.function()


class TestThePrice:
    """Of the agent's author, else of its environment, else nothing."""

    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"AGENT_COST_PER_RUN_CENTS": "3"}

    @pytest.mark.parametrize(("price", "cost"), [(None, 3), (0, 0), (4, 4)])
    def test_is_the_authors_else_the_environments(
        self,
        parts: FunctionParts,
        publisher: RecordingPublisher,
        clock: HandClock,
        identities: Identities,
        price: int | None,
        cost: int,
    ) -> None:
        agent = Agent("light", price_cents=price, parts=parts)
        agent.handler(lambda payload: payload)
        in_hand = AgentInHand(agent.function(), Work(), parts, publisher, clock, identities)
        assert in_hand.run(by=RUNNER).body["costCents"] == cost


def test_the_sdk_is_the_packages_public_face() -> None:
    assert agent_mesh.Agent is Agent
    assert agent_mesh.Priced is Priced
    assert agent_mesh.TerminalError is TerminalError
