"""How a function becomes a handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from pydantic import BaseModel, JsonValue

from agent_mesh.agents.errors import TerminalError
from agent_mesh.agents.handlers import HandlerSignatureError, Priced, adapt, payload_model
from agent_mesh.agents.held_run import HeldRun, Run
from tests.conftest import HandClock


class Word(BaseModel):
    """What may be shouted."""

    text: str
    times: int = 1


@pytest.fixture
def run(clock: HandClock) -> Run:
    """A run that nothing is stored of."""
    return Run(cast("HeldRun", None), clock, ttl=None, budget_cents=None, trace_id="t")


def test_a_function_may_take_the_payload_alone_or_the_run_too(run: Run) -> None:
    def one(payload: dict[str, JsonValue]) -> object:
        return payload

    def two(payload: dict[str, JsonValue], its_run: Run) -> object:
        return [payload, its_run.trace_id]

    assert adapt(one)({"a": 1}, run) == {"a": 1}
    assert adapt(two)({"a": 1}, run) == [{"a": 1}, "t"]


def test_a_function_may_have_no_annotations(run: Run) -> None:
    assert adapt(lambda payload, its_run: (payload, its_run.trace_id))({}, run) == ({}, "t")


def test_a_payload_becomes_the_model_that_the_function_names(run: Run) -> None:
    def shout(word: Word) -> str:
        return word.text.upper() * word.times

    assert payload_model(shout) is Word
    assert adapt(shout)({"text": "a", "times": 2}, run) == "AA"
    assert shout(Word(text="a")) == "A"


def test_a_payload_that_does_not_fit_is_final_and_names_its_field(run: Run) -> None:
    def shout(word: Word) -> str:
        return word.text

    with pytest.raises(TerminalError) as refused:
        adapt(shout)({"text": "hush", "times": "hush"}, run)
    assert refused.value.code == "payload_invalid"
    assert refused.value.detail.startswith("payload.times: ")
    assert "hush" not in refused.value.detail


@pytest.mark.parametrize("annotation", [dict, list[int], "dict[str, int]", int | None])
def test_any_other_annotation_means_the_plain_object(annotation: object, run: Run) -> None:
    def handle(payload: Any) -> object:
        return payload

    handle.__annotations__["payload"] = annotation
    assert payload_model(handle) is None
    assert adapt(handle)({"a": 1}, run) == {"a": 1}


def test_a_result_may_bring_its_price(run: Run) -> None:
    assert adapt(lambda _payload: Priced("done", 3))({}, run) == "done"
    assert run.charged_cents == 3


def test_a_function_that_says_nothing_of_a_price_charges_nothing_itself(run: Run) -> None:
    adapt(lambda _payload: "done")({}, run)
    assert run.charged_cents is None


def test_what_was_charged_before_adds_up(run: Run) -> None:
    def work(_payload: object, its_run: Run) -> Priced:
        its_run.charge(1)
        its_run.charge(0)
        return Priced(None, 2)

    adapt(work)({}, run)
    assert run.charged_cents == 3


@pytest.mark.parametrize(("cents", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_a_price_is_whole_cents_from_zero_up(run: Run, cents: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        run.charge(cents)
    assert run.charged_cents is None


def nothing() -> None: ...
def three(_a: object, _b: object, _c: object) -> None: ...
def named(*, payload: object) -> None: ...
def many(*payloads: object) -> None: ...
def mapped(payload: object, **more: object) -> None: ...


@pytest.mark.parametrize("function", [nothing, three, named, many, mapped])
def test_a_function_of_another_shape_is_no_handler(function: Callable[..., object]) -> None:
    with pytest.raises(HandlerSignatureError, match=f"{function.__name__} must take"):
        adapt(function)


def test_a_bound_method_is_a_handler(run: Run) -> None:
    class Shouter:
        def shout(self, payload: dict[str, JsonValue]) -> str:
            return f"{payload}!"

    assert adapt(Shouter().shout)({}, run) == "{}!"
