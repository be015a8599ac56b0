"""The relay's routes."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Final

import flask
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_mesh.contracts.problems import FieldFault, IdempotencyConflict, InvalidRequest, UpgradeRequired
from agent_mesh.contracts.push import PushEnvelope
from agent_mesh.contracts.relay import (
    HistoryPage,
    Presence,
    PublishAnswer,
    PublishRequest,
    RelayMessage,
    TicketAnswer,
    TicketRequest,
    TopicsPage,
    TopicText,
)
from agent_mesh.contracts.values import canonical_json
from agent_mesh.platform.app import PUSH_BODY_LIMIT_BYTES, Access, Content, FunctionApp, current_identity
from agent_mesh.platform.client_socket import Finished
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.relay.arrival import publish_event
from agent_mesh.relay.doors import allow_origins, by_ticket
from agent_mesh.relay.instance import RelayInstance
from agent_mesh.relay.messages import Draft, Message
from agent_mesh.relay.permissions import Action
from agent_mesh.relay.serving import event_stream, open_stream
from agent_mesh.relay.tickets import LIFETIME, Ticket
from agent_mesh.relay.topics import checked_topic, parse_patterns

_DESCRIPTION: Final = (
    "Live messages by topic: stored, fanned out over all instances, resumed without a gap or a repeat. "
    "`/ws` is the same stream over WebSocket."
)
_FOR_BROWSERS: Final = ("/subscribe", "/tickets", "/history", "/presence", "/topics")


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _StreamQuery(_Query):
    topic: Annotated[list[TopicText], Field(min_length=1, max_length=16)] = Field(
        description="Topics and patterns: `*` is one word, `**` at the end one or more. Repeatable."
    )
    last_event_id: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="What the header `Last-Event-ID` says, for those who cannot send it; the header wins."
    )
    ticket: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="In place of an ID token: one from `POST /tickets`."
    )


class _TopicQuery(_Query):
    topic: TopicText


class _TopicsQuery(_Query):
    cursor: TopicText | None = Field(default=None, description="`next_cursor` of the page before.")
    limit: Annotated[int, Field(ge=1, le=200)] = 100


def relay_app(parts: FunctionParts) -> FunctionApp:
    """Return the relay's app, wired from `parts`."""
    instance = RelayInstance(parts)
    app = parts.app("relay", _DESCRIPTION)
    allow_origins(app, parts.settings.relay_allowed_origins, _FOR_BROWSERS)
    callers = parts.caller_access(parts.settings.callers, parts.settings.operators)
    _publish_routes(app, instance, callers)
    _stream_routes(app, instance, callers)
    _topic_routes(app, instance, callers, parts)
    _push_routes(app, instance, parts)
    return app


def _publish_routes(app: FunctionApp, instance: RelayInstance, access: Access) -> None:
    @app.route("POST", "/publish", access=access, answers={200: PublishAnswer}, summary="Publish a message on a topic")
    def publish(body: PublishRequest) -> PublishAnswer:
        caller, topic = current_identity().email, checked_topic(body.topic)
        instance.permissions.require(caller, Action.PUBLISH, [topic])
        key = None if body.idempotency_key is None else f"caller:{caller}:{body.idempotency_key}"
        draft = Draft.of(body.payload, key)
        receipt = instance.publish(topic, draft, caller)
        if receipt.repeated and receipt.message and not _same_payload(receipt.message, body):
            raise IdempotencyConflict(f"The key was used on {topic} for another payload; choose another key.")
        return PublishAnswer(event_id=receipt.message_id)

    @app.route("POST", "/tickets", access=access, answers={200: TicketAnswer}, summary="Buy a ticket for one stream")
    def tickets(body: TicketRequest) -> TicketAnswer:
        caller, patterns = current_identity().email, parse_patterns(body.topics)
        instance.permissions.require_patterns(caller, patterns)
        ticket = instance.tickets.issue(Ticket(caller, patterns))
        return TicketAnswer(ticket=ticket, expires_in=int(LIFETIME.total_seconds()))


def _same_payload(message: Message, body: PublishRequest) -> bool:
    return canonical_json(message.read_payload()) == canonical_json(body.payload)


def _stream_routes(app: FunctionApp, instance: RelayInstance, callers: Access) -> None:
    access = Access.of(callers.emails, *callers.audiences, otherwise=by_ticket(instance.tickets))

    @app.route(
        "GET", "/subscribe", access=access, answers={200: None}, summary="A stream of messages: Server-Sent Events"
    )
    def subscribe(query: _StreamQuery) -> Content:
        return event_stream(instance, current_identity().email, parse_patterns(query.topic), query.last_event_id)

    @app.route("GET", "/ws", access=access, answers={426: None}, summary="The same stream over WebSocket", name="ws")
    def no_upgrade(query: _StreamQuery) -> None:  # noqa: ARG001  # the document names the parameters
        raise UpgradeRequired("This path speaks WebSocket: send an Upgrade (RFC 6455), or use /subscribe.")

    @app.websocket("/ws", access=access)
    def websocket() -> Finished:
        from agent_mesh.platform.websocket import WebSocket  # wsproto: only who opens one pays for it
        from agent_mesh.relay.ws import serve

        query = _stream_query(flask.request)
        patterns = parse_patterns(query.topic)
        stream = open_stream(instance, current_identity().email, patterns, query.last_event_id, websocket=True)
        try:
            accepted = WebSocket(flask.request.environ)
        except BaseException:
            stream.close()
            raise
        serve(accepted, stream)
        return Finished()


def _stream_query(request: flask.Request) -> _StreamQuery:
    given: dict[str, Any] = {**request.args.to_dict(), "topic": request.args.getlist("topic")}
    try:
        return _StreamQuery.model_validate(given)
    except ValidationError as error:
        faults = [
            FieldFault(field=".".join(map(str, fault["loc"])), message=fault["msg"])
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        detail = "; ".join(f"{fault.field}: {fault.message}" for fault in faults[:5])
        raise InvalidRequest(detail, errors=faults[:50]) from error


def _topic_routes(app: FunctionApp, instance: RelayInstance, access: Access, parts: FunctionParts) -> None:
    @app.route("GET", "/topics", access=access, answers={200: TopicsPage}, summary="Topics that have messages, by name")
    def topics(query: _TopicsQuery) -> TopicsPage:
        may_read = instance.permissions.readable(current_identity().email)
        names = filter(may_read, instance.history.topic_names(checked_topic(query.cursor) if query.cursor else ""))
        page = list(islice(names, query.limit))
        return TopicsPage(topics=page, next_cursor=page[-1] if len(page) == query.limit else None)

    @app.route("GET", "/history", access=access, answers={200: HistoryPage}, summary="The newest messages of a topic")
    def history(query: _TopicQuery) -> HistoryPage:
        topic = _readable_topic(instance, query.topic)
        messages = instance.history.latest(topic).messages
        return HistoryPage(topic=topic, messages=[RelayMessage.model_validate_json(each.data) for each in messages])

    @app.route("GET", "/presence", access=access, answers={200: Presence}, summary="How many streams read a topic")
    def presence(query: _TopicQuery) -> Presence:
        topic = _readable_topic(instance, query.topic)
        heard = instance.presence(topic)
        return Presence(
            topic=topic,
            count=heard.here + sum(heard.elsewhere),
            instances=bool(heard.here) + len(heard.elsewhere),
            as_of=parts.clock.now(),
        )


def _readable_topic(instance: RelayInstance, name: str) -> str:
    topic = checked_topic(name)
    instance.permissions.require(current_identity().email, Action.SUBSCRIBE, [topic])
    return topic


def _push_routes(app: FunctionApp, instance: RelayInstance, parts: FunctionParts) -> None:
    settings = parts.settings
    access = parts.push_access(settings.event_pushers, settings.push_audience, verify=settings.push_verify)

    @app.route(
        "POST",
        "/pubsub/events",
        access=access,
        answers={204: None},
        summary="Take an event of the mesh from Pub/Sub",
        body_limit=PUSH_BODY_LIMIT_BYTES,
    )
    def pubsub_events(body: PushEnvelope) -> None:
        publish_event(instance, body)
