"""Bad input of every kind on every POST: a 4xx problem that names the field, and nothing is stored."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import pytest
import urllib3

from tests.contract.mesh import JSON, Answer, Mesh, Operation, assert_problem, task_request
from tests.contract.roles import ROLES

UNREADABLE = {
    "not JSON": b"agent=light",
    "half of it": b'{"agent": "light"',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep payload": b'{"payload": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "trailing words": b"{} {}",
    "not UTF-8": b'{"agent": "\xff\xfe"}',
    "UTF-16": '{"agent": "light"}'.encode("utf-16"),
    "a lone surrogate": b'{"agent": "\\ud800"}',
    "a byte-order mark": b"\xef\xbb\xbf{}",
    "null bytes": b"\x00" * 100,
    "a control character in a string": b'{"agent": "a\nb"}',
    "single quotes": b"{'agent': 'light'}",
}
NO_OBJECT = {"a list": b"[]", "a string": b'"x"', "a number": b"1", "null": b"null", "true": b"true", "NaN": b"NaN"}


def posts(mesh: Mesh, role: str) -> list[Operation]:
    """Every operation of a function that takes a body."""
    found = [one for one in mesh.operations(role) if one.has_body]
    assert found
    return found


def send(mesh: Mesh, one: Operation, body: bytes, **headers: str) -> Answer:
    return mesh.raw(one.method, one.path, body, role=one.role, **headers)


def takes_little(one: Operation) -> bool:
    """Pushes and batches may be larger than what a caller sends."""
    return not {"pubsub", "batch"} & set(one.template.split("/"))


def announce(mesh: Mesh, one: Operation, size: int) -> Answer:
    """Say how long the body will be and wait for the answer: a client that sends on may miss it."""
    connection = http.client.HTTPConnection(mesh.stack.url(one.role).removeprefix("http://"), timeout=20)
    try:
        connection.putrequest(one.method, one.path)
        who = mesh.pushers.get(mesh.stack.url(one.role) + one.path, mesh.developer)
        for name, value in {"Content-Length": str(size), "Authorization": mesh.bearer(one.role, who), **JSON}.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): text for name, text in response.getheaders()}, response.read())
    finally:
        connection.close()


def stored(mesh: Mesh) -> tuple[int, ...]:
    """How many tasks and dead letters there are, and runs of the ones who send here."""
    return mesh.count("tasks"), mesh.count("dead"), mesh.runs_of(mesh.developer, f"push:{BY_HAND}")


BY_HAND = "projects/mesh-local/subscriptions/by-hand"


def assert_names_something(answer: Answer, what: object) -> None:
    assert 400 <= answer.status < 500, (what, answer)
    assert_problem(answer)
    assert answer.fields, (what, answer)
    assert "Traceback" not in answer.json["detail"]


@pytest.mark.parametrize("role", ROLES)
def test_a_body_that_cannot_be_read_is_400_everywhere(mesh: Mesh, role: str) -> None:
    before = stored(mesh)
    for one in posts(mesh, role):
        for name, body in UNREADABLE.items():
            answer = send(mesh, one, body)
            assert answer.status == 400, (one, name, answer)
            assert_names_something(answer, (one, name))
    assert stored(mesh) == before


@pytest.mark.parametrize("role", ROLES)
def test_a_body_that_is_no_object_is_refused_everywhere(mesh: Mesh, role: str) -> None:
    before = stored(mesh)
    for one in posts(mesh, role):
        for name, body in NO_OBJECT.items():
            assert_names_something(send(mesh, one, body), (one, name))
    assert stored(mesh) == before


@pytest.mark.parametrize("role", ROLES)
def test_a_body_beyond_the_limit_is_413_and_names_it(mesh: Mesh, role: str) -> None:
    before = stored(mesh)
    for one in posts(mesh, role):
        answer = announce(mesh, one, 3_000_000 if takes_little(one) else 17_000_000)
        assert answer.refusal == (413, "body_too_large"), one
        assert_problem(answer)
    assert stored(mesh) == before


@pytest.mark.parametrize("role", ROLES)
def test_a_body_beyond_the_limit_that_does_not_say_so_is_refused_as_well(mesh: Mesh, role: str) -> None:
    before = stored(mesh)
    for one in posts(mesh, role):
        if takes_little(one):
            chunks = (b'{"payload": {"x": "', *[b"x" * 100_000] * 30, b'"}}')
            try:
                answer = mesh.raw(one.method, one.path, chunks, role=role)
            except urllib3.exceptions.ProtocolError:
                continue  # refused while we were still sending
            assert answer.refusal == (413, "body_too_large"), one
    assert stored(mesh) == before


@pytest.mark.parametrize("role", ROLES)
def test_no_body_and_an_empty_object_break_nothing(mesh: Mesh, role: str) -> None:
    for one in posts(mesh, role):
        for body in (b"", b"{}", b"   "):
            answer = send(mesh, one, body)
            assert answer.status < 500, (one, body)
            if answer.status >= 400:
                assert_problem(answer)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "a/b/c", ""]
)
def test_another_content_type_breaks_nothing(mesh: Mesh, role: str, kind: str) -> None:
    before = stored(mesh)
    for one in posts(mesh, role):
        assert_names_something(send(mesh, one, b"agent=light&ttl=1", Content_Type=kind), (one, kind))
    assert stored(mesh) == before


WRONG: list[tuple[str, str]] = [
    *(("agent", text) for text in ('""', "5", "null", "true", "[]", "{}", '"a/b"', '"a\\u0000b"', '"-a"', '" light"')),
    ("agent", json.dumps("a" * 64)),
    ("agent", '"é"'),
    *(("payload", text) for text in ("null", "[]", '"x"', "5", "true")),
    ("payload", '{"n": NaN}'),
    ("payload", '{"n": Infinity}'),
    ("payload", '{"n": -1e999}'),
    ("payload", json.dumps({"x": "x" * 262_200})),
    *(("ttl", text) for text in ("null", '"5"', "true", "[]", "{}", "NaN", "Infinity", "1e999", "-1", "0", "1e300")),
    ("ttl", str(10**400)),
    ("ttl", "1800000000000"),  # milliseconds
    *(("budgetCents", text) for text in ("null", '"5"', "true", "[]", "-1", "5.5", "1e999", "NaN")),
    ("budgetCents", str(10**12 + 1)),
    ("budgetCents", str(2**63)),
    ("budgetCents", str(10**4000)),
    *(("idempotencyKey", text) for text in ('""', "5", "true", "[]", '"a\\u0000"', '"a\\nb"', '"\\u007f"')),
    ("idempotencyKey", json.dumps("k" * 256)),
    *(("callbackUrl", text) for text in ('""', "5", '"x"', "[]", '"https://"')),
    ("callbackUrl", json.dumps("https://example.com/" + "x" * 2048)),
    *(("traceId", text) for text in ('""', "5", '"a b"', '"é"', '"a\\u0000"')),
    ("traceId", json.dumps("t" * 129)),
    ("unknown", "1"),
    ("budget_cents\\u0000", "1"),
]
ONLY_DISPATCH: list[tuple[str, str]] = [
    *(("mode", text) for text in ('"HTTP"', '"x"', "5", "null", "[]")),
    *(("notBefore", text) for text in ('"5"', "true", "NaN", "-1", "1e999")),
]
ONLY_RUN: list[tuple[str, str]] = [
    *(("taskId", text) for text in ('""', "5", '"a/b"', '".."', '"a\\u0000"')),
    ("taskId", json.dumps("t" * 129)),
    *(("attempt", text) for text in ("0", "-1", "true", "1.5", "1000001", str(10**30))),
]


def with_field(request: dict[str, Any], field: str, text: str) -> bytes:
    """Return a request with one field replaced by JSON text."""
    rest = {name: value for name, value in request.items() if name != field}
    return f'{json.dumps(rest)[:-1]}, "{field}": {text}}}'.encode()


@pytest.mark.parametrize(("field", "text"), WRONG + ONLY_DISPATCH, ids=lambda each: str(each)[:30])
def test_a_wrong_field_of_a_dispatch_is_named_and_nothing_is_stored(mesh: Mesh, field: str, text: str) -> None:
    before = mesh.count("tasks")
    body = with_field(task_request("light", mode="pubsub"), field, text)
    answer = mesh.raw("POST", "/dispatch", body)
    assert_names_something(answer, (field, text))
    named = field.encode().decode("unicode_escape")
    assert named in answer.fields or answer.status == 400, answer.fields
    assert mesh.count("tasks") == before


@pytest.mark.parametrize(
    ("field", "text"), [one for one in WRONG if one[0] != "agent"] + ONLY_RUN, ids=lambda each: str(each)[:30]
)
def test_a_wrong_field_of_a_run_is_named_and_nothing_runs(mesh: Mesh, field: str, text: str) -> None:
    before = mesh.runs_of(mesh.developer)
    request = {"payload": {}, "ttl": time.time() + 60, "budgetCents": 20}
    answer = mesh.raw("POST", "/run", with_field(request, field, text), role="actor")
    assert_names_something(answer, (field, text))
    named = field.encode().decode("unicode_escape")
    assert named in answer.fields or answer.status == 400, answer.fields
    assert mesh.runs_of(mesh.developer) == before


@pytest.mark.parametrize("field", ["agent", "payload", "ttl", "budgetCents"])
def test_a_missing_field_is_named(mesh: Mesh, field: str) -> None:
    request = task_request("light")
    del request[field]
    answer = mesh.post("/dispatch", request)
    assert (answer.status, answer.fields) == (422, {field})


def test_several_faults_are_named_at_once(mesh: Mesh) -> None:
    answer = mesh.post("/dispatch", {"agent": 5, "payload": [], "ttl": "x", "budgetCents": -1, "extra": 1})
    assert answer.fields == {"agent", "payload", "ttl", "budgetCents", "extra"}


def test_a_problem_does_not_repeat_what_was_sent(mesh: Mesh) -> None:
    answer = mesh.dispatch("light", payload="a secret", idempotencyKey=5)
    assert answer.status == 422
    assert b"a secret" not in answer.body


def test_the_last_of_repeated_keys_counts_for_every_check(mesh: Mesh) -> None:
    request = json.dumps(task_request("light"))
    answer = mesh.raw("POST", "/dispatch", f'{request[:-1]}, "agent": "actor"}}'.encode())
    assert answer.json["agent"] == "actor"
    assert mesh.raw("POST", "/dispatch", f'{request[:-1]}, "budgetCents": -1}}'.encode()).fields == {"budgetCents"}


@pytest.mark.parametrize(
    "payload",
    [
        {"text": "\u0000\u0001\u001f\u007f\u2028\ufeff"},
        {"": {"": {"": []}}},
        {"__proto__": 1, "a.b": 2, "`": 3, "\u0000": 4},
        {"numbers": [0, -0.0, 1e-300, 1.7e308, 2**63, -(2**64), 0.1, 123456789012345678901234567890]},
        {"emoji": "\U0001f600" * 100},
        {"deep": json.loads("[" * 100 + "]" * 100)},
        {"many": dict.fromkeys(map(str, range(2000)), None)},
    ],
    ids=["controls", "empty keys", "odd keys", "numbers", "emoji", "deep", "many keys"],
)
@pytest.mark.parametrize("mode", ["http", "pubsub"])
def test_unusual_and_valid_json_comes_back_as_it_was(mesh: Mesh, payload: dict[str, Any], mode: str) -> None:
    task = mesh.ended(mesh.dispatch("light", payload=payload, mode=mode).json["taskId"])
    assert task["result"]["echo"] == payload


def test_a_payload_of_exactly_the_limit_is_taken(mesh: Mesh) -> None:
    payload = {"x": "x" * (256 * 1024 - len('{"x":""}'))}
    assert mesh.dispatch("light", payload=payload).json["result"]["echo"] == payload
    assert mesh.dispatch("light", payload={"x": payload["x"] + "x"}).fields == {"payload"}


@pytest.mark.parametrize("trace", ["", "garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 5000, "é"])
def test_a_broken_trace_header_is_replaced(mesh: Mesh, trace: str) -> None:
    answer = mesh.raw("GET", "/task/nothing_here", None, traceparent=trace.encode().decode("latin-1"))
    assert answer.status == 404
    assert_problem(answer)


def test_the_trace_of_the_caller_is_the_trace_of_a_problem(mesh: Mesh) -> None:
    answer = mesh.raw("GET", "/task/nothing_here", None, traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")
    assert answer.json["traceId"] == "ab" * 16
