from __future__ import annotations

import pytest

from emulator.usage.attribution import trace_of_call, trace_of_message

A, B = "a" * 32, "b" * 32


def parent(trace: str) -> str:
    return f"00-{trace}-{'1' * 16}-01"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ([], ""),
        (None, ""),
        ([("user-agent", "grpc-python")], ""),
        ([("x-request-id", "mine"), ("traceparent", parent(A))], A),
        ([("x-cloud-trace-context", f"{B.upper()}/12;o=1"), ("traceparent", parent(A))], A),
        ([("x-cloud-trace-context", f"{B.upper()}/12;o=1"), ("x-request-id", "mine")], B),
        ([("x-cloud-trace-context", B)], B),
        ([("x-goog-request-id", "google's"), ("x-request-id", "mine")], "mine"),
        ([("x-goog-request-id", "google's")], "google's"),
        ([("traceparent", "garbage"), ("x-request-id", "mine")], "mine"),
        ([("traceparent", parent("0" * 32)), ("x-request-id", "mine")], "mine"),
        ([("traceparent", "01" + parent(A)[2:] + "-later")], A),
        ([("x-request-id", "  ")], ""),
        ([("x-request-id", "x" * 500)], "x" * 128),
    ],
    ids=str,
)
def test_the_first_key_that_holds_an_id_decides(metadata: list[tuple[str, str]] | None, expected: str) -> None:
    assert trace_of_call(metadata) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, ""),
        ({"traceparent": parent(A), "googclient_traceparent": parent(B)}, A),
        ({"googclient_traceparent": parent(B)}, B),
        ({"traceparent": "", "googclient_traceparent": parent(B)}, B),
        ({"traceId": A}, ""),
    ],
    ids=str,
)
def test_a_message_says_its_trace_in_an_attribute(attributes: dict[str, str], expected: str) -> None:
    assert trace_of_message(attributes) == expected
