"""The relay's contract: what is published, and what is told of topics. snake_case on the wire."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from agent_mesh.contracts.values import IdempotencyKey, JsonObject, Strict, Tolerant

TopicText = Annotated[str, Field(min_length=1, max_length=128)]


class _Asked(Strict):
    model_config = ConfigDict(alias_generator=None)


class _Told(Tolerant):
    model_config = ConfigDict(alias_generator=None)


class PublishRequest(_Asked):
    """`POST /publish`."""

    topic: TopicText = Field(description="Words joined by dots, such as `access.intent`.")
    payload: JsonObject
    idempotency_key: IdempotencyKey | None = Field(
        default=None, description="The same key of the same caller on the same topic publishes once."
    )


class PublishAnswer(_Told):
    """The message is stored, and on its way to every stream."""

    status: Literal["ok"] = "ok"
    event_id: str = Field(description="The message's id; of a repeated key the first message's.")


class TicketRequest(_Asked):
    """`POST /tickets`."""

    topics: Annotated[list[TopicText], Field(min_length=1, max_length=16)] = Field(
        description="Topics and patterns that the stream may name."
    )


class TicketAnswer(_Told):
    """A ticket opens one stream, once."""

    ticket: str = Field(description="For `?ticket=` of `/subscribe` and `/ws`, in place of an ID token.")
    expires_in: int = Field(description="Seconds in which it must be used.")


class RelayMessage(_Told):
    """One message, as a stream's `data` has it."""

    id: str
    ts: float = Field(description="Unix seconds at which it was stored.")
    topic: str
    payload: dict[str, JsonValue]


class HistoryPage(_Told):
    """The newest messages of a topic, at most 50, oldest first."""

    topic: str
    messages: list[RelayMessage]


class TopicsPage(_Told):
    """Topics that have messages and that the caller may read, by name."""

    topics: list[str]
    next_cursor: str | None = Field(default=None, description="Give it as `cursor` for the rest.")


class Presence(_Told):
    """How many streams get the messages of a topic, over all instances."""

    topic: str
    count: int = Field(description="Open streams over the topic, or over a pattern that means it.")
    instances: int = Field(description="Instances that have at least one of them.")
    as_of: float = Field(description="Unix seconds; counts of other instances may be some seconds old.")
