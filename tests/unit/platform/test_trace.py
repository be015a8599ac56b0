"""W3C trace context: what is handed on, what is taken up, what is not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.platform.trace import Trace, incoming_trace, new_trace, trace_for

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
WELL_FORMED = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@pytest.mark.parametrize("name", ["traceparent", "googclient_traceparent"])
def test_a_span_continues_the_trace_of_its_parent(name: str) -> None:
    trace = incoming_trace({name: PARENT}.get)
    assert trace is not None
    assert (trace.trace_id, trace.flags) == (TRACE, "01")
    assert trace.span_id != SPAN


def test_our_own_attribute_wins_over_the_clients() -> None:
    other = PARENT.replace(TRACE, "1" * 32)
    trace = incoming_trace({"googclient_traceparent": other, "traceparent": PARENT}.get)
    assert trace is not None
    assert trace.trace_id == TRACE


def test_a_parent_that_is_no_good_does_not_hide_one_that_is() -> None:
    trace = incoming_trace({"traceparent": "?", "googclient_traceparent": PARENT}.get)
    assert trace is not None
    assert trace.trace_id == TRACE


@pytest.mark.parametrize(
    "parent",
    [
        "",
        PARENT.upper(),
        PARENT + "-",
        " " + PARENT,
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE[:-1]}-{SPAN}-01",
    ],
)
def test_what_is_no_traceparent_is_no_trace(parent: str) -> None:
    assert incoming_trace({"traceparent": parent}.get) is None


@given(st.text() | st.from_regex(WELL_FORMED))
def test_reading_a_parent_never_raises_and_gives_a_span_that_can_be_handed_on(parent: str) -> None:
    trace = incoming_trace({"traceparent": parent}.get)
    assert trace is None or WELL_FORMED.fullmatch(trace.traceparent)


def test_nothing_is_no_trace() -> None:
    nothing: dict[str, str] = {}
    assert incoming_trace(nothing.get) is None


def test_a_new_trace_is_like_no_other() -> None:
    traces = {new_trace().trace_id for _ in range(100)}
    assert len(traces) == 100
    assert WELL_FORMED.fullmatch(new_trace().traceparent)


def test_a_child_stays_in_the_trace() -> None:
    parent = Trace(TRACE, SPAN, "00")
    child = parent.child()
    assert (child.trace_id, child.flags) == (TRACE, "00")
    assert child.span_id != SPAN
    assert parent.traceparent == f"00-{TRACE}-{SPAN}-00"


def test_a_trace_id_of_the_callers_own_is_used_where_it_can_be() -> None:
    assert trace_for(TRACE).trace_id == TRACE


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_any_other_trace_id_always_becomes_the_same_trace(trace_id: str) -> None:
    trace = trace_for(trace_id)
    assert WELL_FORMED.fullmatch(trace.traceparent)
    assert trace.trace_id == trace_for(trace_id).trace_id


def test_a_trace_id_of_nothing_but_zeros_is_no_trace_id() -> None:
    assert trace_for("0" * 32).trace_id.strip("0")
