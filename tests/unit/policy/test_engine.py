"""The engine answers or refuses; each trap of the library that it stands on has its test here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agent_mesh.policy import Engine, InputLimits, NoAnswer, Refusal, packaged_bundle
from agent_mesh.policy._rego import Compiled, Interpreter

RULE = "p/allow"
MakeEngine = Callable[..., Engine]

SLOW = (
    "allow if not slow",
    "slow if { not input.quick; some i in numbers.range(1, 900); some j in numbers.range(1, 900); i * j == -1 }",
)


def refusal(engine: Engine, value: Any) -> Refusal:
    with pytest.raises(NoAnswer) as refused:
        engine.evaluate(RULE, value)
    return refused.value.code


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_a_rule_that_holds_is_true(engine_of: MakeEngine) -> None:
    assert engine_of("allow if input.x == 1").evaluate(RULE, {"x": 1}) is True


def test_a_default_of_false_is_false_and_not_undefined(engine_of: MakeEngine) -> None:
    assert engine_of("default allow := false", "allow if input.x == 1").evaluate(RULE, {"x": 2}) is False


def test_a_rule_that_does_not_hold_gives_no_answer(engine_of: MakeEngine) -> None:
    assert refusal(engine_of("allow if input.x == 1"), {"x": 2}) is Refusal.UNDEFINED


def test_an_entry_point_that_the_bundle_does_not_name_gives_no_answer(engine_of: MakeEngine) -> None:
    engine = engine_of("allow := true", "other := true")
    with pytest.raises(NoAnswer) as refused:
        engine.evaluate("p/other", {})
    assert refused.value.code is Refusal.UNDEFINED


def test_a_value_cannot_add_fields_to_the_input(engine_of: MakeEngine) -> None:
    engine = engine_of("default allow := false", "allow if input.allow")
    assert engine.evaluate(RULE, {"v": 'x","allow":true,"zz":"'}) is False


@pytest.mark.parametrize("text", ["Grüße", "日本語", "😀", "\u2028", "\x7f", "a/b", "{{x}}", "data.p.allow"])
def test_text_outside_ascii_arrives_as_it_is(engine_of: MakeEngine, text: str) -> None:
    assert engine_of("allow := [input.t, count(input.t)]").evaluate(RULE, {"t": text}) == [text, len(text)]


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "a\x00b", "\t"])
def test_text_with_escapes_is_compared_as_it_is(engine_of: MakeEngine, text: str) -> None:
    assert engine_of("allow if input.t == input.u").evaluate(RULE, {"t": text, "u": text}) is True


@pytest.mark.parametrize("text", ['a"b', "a\\nb", "a\nb", "a\x00b"])
@pytest.mark.parametrize("looking", ["count(input.t) == 3", 'contains(input.t, "n")', 'not regex.match("n", input.t)'])
def test_text_with_escapes_is_refused_where_rules_look_into_text(
    engine_of: MakeEngine, text: str, looking: str
) -> None:
    engine = engine_of(f"allow if {looking}")
    assert refusal(engine, {"t": text}) is Refusal.INPUT_ESCAPED_TEXT
    assert refusal(engine, {text: 1}) is Refusal.INPUT_ESCAPED_TEXT


def test_a_rule_with_two_values_gives_no_answer(engine_of: MakeEngine) -> None:
    engine = engine_of("allow := true if input.a", "allow := false if input.b")
    assert refusal(engine, {"a": True, "b": True}) is Refusal.FAILED
    assert engine.evaluate(RULE, {"a": True}) is True


def test_an_error_in_a_function_is_no_reason_to_allow(engine_of: MakeEngine) -> None:
    engine = engine_of("allow if not denied", "denied if to_number(input.x) > 5")
    assert refusal(engine, {"x": "many"}) is Refusal.FAILED
    assert engine.evaluate(RULE, {"x": "3"}) is True


@pytest.mark.parametrize(
    "rules",
    [
        ("allow if q", "q if allow"),
        ("f(x) := f(x + 1)", "allow if f(1)"),
        ("f(x) if g(x)", "g(x) if f(x)", "allow if f(1)"),
    ],
)
def test_recursion_gives_no_answer(engine_of: MakeEngine, rules: tuple[str, ...]) -> None:
    assert refusal(engine_of(*rules), {}) is Refusal.RECURSION


def test_a_failure_leaves_nothing_behind_for_the_next_question(engine_of: MakeEngine) -> None:
    engine = engine_of("allow := 1 / input.x", workers=1)
    assert engine.evaluate(RULE, {"x": 1}) == 1
    assert refusal(engine, {"x": 0}) is Refusal.FAILED
    assert refusal(engine, {}) is Refusal.UNDEFINED
    assert engine.evaluate(RULE, {"x": 2}) == 0.5


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused(engine_of: MakeEngine, number: float) -> None:
    assert refusal(engine_of("allow if input.x"), {"x": number}) is Refusal.INPUT_NOT_JSON


@pytest.mark.parametrize("value", [{"x": "\ud800"}, {"\udfff": 1}, {1: "x"}, {"x": {1, 2}}, {"x": b"y"}, {"x": (1,)}])
def test_what_is_no_json_is_refused(engine_of: MakeEngine, value: object) -> None:
    assert refusal(engine_of("allow := true"), value) is Refusal.INPUT_NOT_JSON


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64 + 10, 10**30])
def test_whole_numbers_do_not_wrap_round(engine_of: MakeEngine, number: int) -> None:
    assert engine_of("allow := input.n < 50").evaluate(RULE, {"n": number}) is False
    assert engine_of("allow := input.n").evaluate(RULE, {"n": number}) == number


def test_depth_is_bounded(engine_of: MakeEngine) -> None:
    engine = engine_of("allow := true", limits=InputLimits(max_depth=8))
    assert engine.evaluate(RULE, nested(7)) is True
    assert refusal(engine, nested(8)) is Refusal.INPUT_TOO_DEEP
    assert refusal(engine, nested(100_000)) is Refusal.INPUT_TOO_DEEP


def test_bytes_are_bounded(engine_of: MakeEngine) -> None:
    engine = engine_of("allow := true", limits=InputLimits(max_bytes=100))
    assert engine.evaluate(RULE, {"a": "x" * 92}) is True
    assert refusal(engine, {"a": "x" * 93}) is Refusal.INPUT_TOO_LARGE


def test_values_are_bounded(engine_of: MakeEngine) -> None:
    engine = engine_of("allow := true", limits=InputLimits(max_values=10))
    assert engine.evaluate(RULE, list(range(9))) is True
    assert refusal(engine, list(range(10))) is Refusal.INPUT_TOO_LARGE


def test_a_megabyte_is_refused_at_once(engine_of: MakeEngine) -> None:
    engine = engine_of("allow := true")
    began = time.monotonic()
    assert refusal(engine, {"a": "x" * 1_000_000}) is Refusal.INPUT_TOO_LARGE
    assert refusal(engine, {f"k{i}": i for i in range(80_000)}) is Refusal.INPUT_TOO_LARGE
    assert time.monotonic() - began < 2


def test_an_evaluation_that_does_not_end_in_time_gives_no_answer(engine_of: MakeEngine) -> None:
    engine = engine_of(*SLOW, timeout_s=0.2, workers=2)
    assert refusal(engine, {}) is Refusal.TIMED_OUT


def test_slow_evaluations_take_all_workers_and_no_more_until_they_end(engine_of: MakeEngine) -> None:
    before = set(threading.enumerate())
    engine = engine_of(*SLOW, timeout_s=0.2, workers=2)
    codes = [refusal(engine, {}) for _ in range(3)]
    assert codes == [Refusal.TIMED_OUT, Refusal.TIMED_OUT, Refusal.OVERLOADED]
    assert len(set(threading.enumerate()) - before) == 2
    deadline = time.monotonic() + 60
    while True:
        try:
            assert engine.evaluate(RULE, {"quick": True}) is True
        except NoAnswer:
            assert time.monotonic() < deadline
        else:
            break


def test_sixteen_threads_get_each_their_own_answer(engine_of: MakeEngine) -> None:
    engine = engine_of('default allow := "none"', "allow := input.n * 2 if input.n > 1500", workers=4)

    def ask(n: int) -> object:
        return engine.evaluate(RULE, {"n": n})

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(3_000)))
    assert answers == [n * 2 if n > 1500 else "none" for n in range(3_000)]


def test_engines_are_made_again_and_again_in_one_process_and_print_nothing(
    engine_of: MakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    for n in range(5):  # setting the level of the engine's log for the whole process would end it at the second
        assert refusal(engine_of(f"allow := {n} / input.x"), {"x": 0}) is Refusal.FAILED
    assert capfd.readouterr() == ("", "")


def test_a_closed_engine_leaves_no_thread(engine_of: MakeEngine) -> None:
    before = set(threading.enumerate())
    engine = engine_of("allow := true", workers=3)
    started = set(threading.enumerate()) - before
    assert len(started) == 3
    engine.close()
    for thread in started:
        thread.join(10)
    assert not any(thread.is_alive() for thread in started)


def test_a_forgotten_engine_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    engine = Engine(packaged_bundle("mesh"))
    started = set(threading.enumerate()) - before
    assert started
    del engine
    for thread in started:
        thread.join(10)
    assert not any(thread.is_alive() for thread in started)


def test_an_input_that_cannot_be_read_is_not_answered_with_the_one_before() -> None:
    compiled = Compiled.of({"p.rego": "package p\n\nallow if input.x\n"}, "{}", [RULE])
    interpreter = Interpreter()
    assert interpreter.evaluate(compiled, RULE, '{"x": true}') is True
    with pytest.raises(NoAnswer) as refused:
        interpreter.evaluate(compiled, RULE, '{"x":')
    assert refused.value.code is Refusal.FAILED
    assert interpreter.evaluate(compiled, RULE, '{"x": true}') is True
