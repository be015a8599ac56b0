"""Reading pushed tasks, and who asks for which run."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from agent_mesh.agents.admission import Price
from agent_mesh.agents.messages import Asker, read_task_message
from agent_mesh.budgets import Reservation
from agent_mesh.contracts.problems import InvalidRequest, MalformedRequest, MeshError
from agent_mesh.contracts.push import PushEnvelope, PushMessage
from agent_mesh.contracts.runs import RunMessage, RunRequest
from tests.unit.agents.conftest import SUBSCRIPTION, envelope

NOW = 1_800_000_000.0
ASKER = Asker("light", Price(5, 9))


def request(**changes: object) -> RunRequest:
    return RunRequest.model_validate({"payload": {"n": 1}, "ttl": NOW, "budget_cents": 10} | changes)


def test_a_full_request_is_read_as_it_is() -> None:
    message = read_task_message(
        envelope(
            {
                "payload": {"n": 1},
                "ttl": NOW,
                "budgetCents": 3,
                "idempotencyKey": "k",
                "traceId": "t",
                "taskId": "task_1",
                "attempt": 2,
                "callbackUrl": "https://example.com/done",
                "colour": "red",
            }
        )
    )
    assert message == RunMessage(
        payload={"n": 1},
        ttl=NOW,
        budget_cents=3,
        idempotency_key="k",
        trace_id="t",
        task_id="task_1",
        attempt=2,
        callback_url="https://example.com/done",
    )


@pytest.mark.parametrize(
    "content", [{}, {"n": 1}, {"payload": 5}, {"payload": None, "ttl": "x"}, {"payload": [{}], "taskId": "task_1"}]
)
def test_an_object_without_an_object_under_payload_is_the_payload(content: dict[str, JsonValue]) -> None:
    message = read_task_message(envelope(content))
    assert message == RunMessage(payload=content)
    assert message.task_id is None


def test_attributes_say_what_the_data_does_not() -> None:
    message = read_task_message(envelope({"n": 1}, traceId="t", idempotencyKey="k"))
    assert (message.trace_id, message.idempotency_key) == ("t", "k")


def test_what_the_data_says_wins_over_attributes() -> None:
    message = read_task_message(
        envelope({"payload": {}, "traceId": "t", "idempotencyKey": "k"}, traceId="other", idempotencyKey="other")
    )
    assert (message.trace_id, message.idempotency_key) == ("t", "k")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedRequest) as refused:
        read_task_message(envelope(data))
    assert refused.value.errors is not None
    assert refused.value.errors[0].field == "message.data"


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ([], "message.data"),
        (5, "message.data"),
        ({"payload": {}, "ttl": "soon"}, "message.data.ttl"),
        ({"payload": {}, "budgetCents": -1}, "message.data.budgetCents"),
        ({"payload": {}, "taskId": "a/b"}, "message.data.taskId"),
        ({"payload": {"a": "x" * 300_000}}, "message.data.payload"),
        ({"a": "x" * 300_000}, "message.data.payload"),
    ],
)
def test_what_does_not_fit_names_its_field(content: object, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_task_message(envelope(content))
    assert not isinstance(refused.value, MalformedRequest)
    assert refused.value.errors is not None
    assert [fault.field for fault in refused.value.errors] == [field]


def test_a_nan_in_a_payload_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        read_task_message(envelope(b'{"payload": {"a": [NaN]}}'))


PIECES = st.sampled_from(
    [b'{"payload":', b"{", b"}", b"[", b'"a"', b":", b"1", b",", b"null", b"NaN", b"\\ud800", b"\xff"]
)


@given(st.binary() | st.lists(PIECES, max_size=12).map(b"".join))
def test_whatever_is_pushed_is_read_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        message = read_task_message(envelope(data))
    except MeshError as refused:
        assert refused.status in {400, 422}  # noqa: PT017  # both ends are fine
    else:
        assert isinstance(message.payload, dict)


@given(st.text())
def test_whatever_stands_in_the_envelope_is_read_or_refused(data: str) -> None:
    with_data = PushEnvelope(message=PushMessage(data=data))
    try:
        read_task_message(with_data)
    except MeshError as refused:
        assert refused.status in {400, 422}  # noqa: PT017  # both ends are fine


def test_the_run_of_a_task_has_the_tasks_id_and_reserves_nothing() -> None:
    wanted = ASKER.orchestrated(request(task_id="task_1", attempt=3), "task_1")
    assert (wanted.run_id, wanted.agent, wanted.caller, wanted.attempt) == ("task_1", "light", "", 3)
    assert wanted.ttl == NOW
    assert (wanted.reservation, wanted.fingerprint) == (None, "")


def test_a_direct_run_reserves_the_most_that_it_may_cost_in_todays_budget() -> None:
    wanted = ASKER.called(request(), "ann", NOW)
    assert wanted.reservation == Reservation("light.20270115", 9)
    assert (wanted.caller, wanted.agent, wanted.ttl) == ("ann", "light", NOW)


def test_a_free_agent_reserves_nothing() -> None:
    assert Asker("light", Price(0, 0)).called(request(), "ann", NOW).reservation is None


def test_two_calls_without_a_key_are_two_runs() -> None:
    assert ASKER.called(request(), "ann", NOW).run_id != ASKER.called(request(), "ann", NOW).run_id


@pytest.mark.parametrize("name", ["idempotency_key", "task_id"])
def test_a_key_or_task_id_is_the_same_run_for_its_caller_and_agent_alone(name: str) -> None:
    asked = request(**{name: "k"})
    run_id = ASKER.called(asked, "ann", NOW).run_id
    assert ASKER.called(asked, "ann", NOW + 99).run_id == run_id
    others = {
        ASKER.called(asked, "bob", NOW).run_id,
        Asker("other", Price(5, 9)).called(asked, "ann", NOW).run_id,
        ASKER.called(request(**{name: "l"}), "ann", NOW).run_id,
        ASKER.called(request(idempotency_key="k", task_id="x"), "ann", NOW).run_id,
    }
    assert run_id not in others
    assert len(others) == 4


def test_a_key_is_no_task_id() -> None:
    by_key, by_task = (ASKER.called(request(**{name: "k"}), "ann", NOW) for name in ("idempotency_key", "task_id"))
    assert by_key.run_id != by_task.run_id


def test_a_task_id_that_somebody_just_names_is_not_the_tasks_run() -> None:
    wanted = ASKER.called(request(task_id="task_1"), "ann", NOW)
    assert wanted.run_id != "task_1"
    assert wanted.run_id.startswith("run_")


def test_a_payload_has_one_fingerprint_whatever_the_order_of_its_keys() -> None:
    one, same, other = (
        ASKER.called(request(payload=payload), "ann", NOW).fingerprint
        for payload in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3})
    )
    assert one == same != other


def test_a_pushed_message_is_known_by_its_key_else_by_its_message_id() -> None:
    def run_id(message: RunMessage, message_id: str) -> str:
        return ASKER.pushed(message, envelope({}, message_id), NOW).run_id

    keyed, plain = RunMessage(payload={}, idempotency_key="k"), RunMessage(payload={})
    assert run_id(keyed, "1") == run_id(keyed, "2")
    assert run_id(plain, "1") == run_id(plain, "1") != run_id(plain, "2")
    assert run_id(plain, "") != run_id(plain, "")
    assert len({run_id(keyed, "k"), run_id(plain, "k")}) == 2


def test_a_pushed_message_is_asked_for_by_its_subscription() -> None:
    wanted = ASKER.pushed(RunMessage(payload={}), envelope({}, "1"), NOW)
    assert wanted.caller == f"push:{SUBSCRIPTION}"
    other = PushEnvelope(message=PushMessage(data=base64.b64encode(b"{}").decode(), message_id="1"))
    assert ASKER.pushed(RunMessage(payload={}), other, NOW).run_id != wanted.run_id
    assert wanted.reservation is not None
