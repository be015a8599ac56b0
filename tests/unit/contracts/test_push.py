"""The envelope in which Pub/Sub pushes a message."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_mesh.contracts.problems import MalformedRequest
from agent_mesh.contracts.push import PushEnvelope, PushMessage


def test_an_envelope_reads_as_google_documents_it() -> None:
    envelope = PushEnvelope.model_validate_json(
        '{"deliveryAttempt": 5, "subscription": "projects/p/subscriptions/s", "message": {"attributes": {"agent": "a"},'
        '"data": "SGVsbG8=", "messageId": "2070443601311540", "message_id": "2070443601311540",'
        '"publishTime": "2021-02-26T19:13:55.749Z", "publish_time": "2021-02-26T19:13:55.749Z", "orderingKey": "k"}}'
    )
    message = envelope.message
    assert (envelope.subscription, envelope.delivery_attempt) == ("projects/p/subscriptions/s", 5)
    assert (message.body(), message.attributes, message.message_id) == (b"Hello", {"agent": "a"}, "2070443601311540")
    assert (message.publish_time, message.ordering_key) == ("2021-02-26T19:13:55.749Z", "k")


def test_nothing_but_the_message_is_needed() -> None:
    envelope = PushEnvelope.model_validate_json('{"message": {}}')
    assert (envelope.message.body(), envelope.subscription, envelope.delivery_attempt) == (b"", "", None)


@pytest.mark.parametrize("text", ["{}", '{"message": null}', '{"message": {"data": 5}}', '{"message": [], "x": 1}'])
def test_what_is_no_envelope_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        PushEnvelope.model_validate_json(text)


@given(st.binary())
def test_every_message_comes_out_as_it_was_published(data: bytes) -> None:
    assert PushMessage(data=base64.b64encode(data).decode()).body() == data


@pytest.mark.parametrize("data", ["é", "SGVsbG8", "SGVs bG8=", "a", "SGVs-_8=", "===="])
def test_what_is_not_base64_is_refused_by_its_field(data: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        PushMessage(data=data).body()
    assert refused.value.errors is not None
    assert [fault.field for fault in refused.value.errors] == ["message.data"]
