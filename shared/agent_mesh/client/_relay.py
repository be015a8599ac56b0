"""`RelayClient`: publishing on the relay, and watching what is published."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode

from pydantic import BaseModel, JsonValue, ValidationError

from agent_mesh.client._environments import LOCAL_STACK
from agent_mesh.client._errors import AnswerUnreadable, ConnectionFailed, ProblemError, RequestInvalid
from agent_mesh.client._event_stream import PooledStreams, ServerEvent, StreamTransport, server_events
from agent_mesh.client._exchange import Call, Exchange, clean_base_url, refusal
from agent_mesh.client._pace import Clock
from agent_mesh.client._requests import checked
from agent_mesh.client._stack import STACK_FILE, Stack
from agent_mesh.client._target import choose_target, function_target
from agent_mesh.client._tokens import GoogleTokens, TokenSource
from agent_mesh.client._transport import PooledTransport, Reply, Request, Transport
from agent_mesh.contracts.problems import FieldFault
from agent_mesh.contracts.relay import HistoryPage, Presence, PublishAnswer, PublishRequest, RelayMessage, TopicsPage

RELAY: Final = "relay"

_SILENCE_S: Final = 45.0
"""Streams show life every 15 seconds."""

_RETRY_S: Final = 1.0
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class RelayGap(BaseModel):
    """Messages of a topic, or of topics that a pattern means, may be missing here, or come again."""

    topic: str
    reason: str


@dataclass(frozen=True, slots=True)
class Watching:
    """What a watch needs of its client."""

    exchange: Exchange
    streams: StreamTransport
    patience_s: float
    clock: Clock


class Watch:
    """Iterate over what is published. `last_event_id` is where another watch would go on."""

    def __init__(self, watching: Watching, patterns: tuple[str, ...], last_event_id: str) -> None:
        """Connect at the first look."""
        self.last_event_id = last_event_id
        self._watching = watching
        self._patterns = patterns

    def __iter__(self) -> Iterator[RelayMessage | RelayGap]:
        """Yield messages and gaps for ever; a connection that breaks is made anew, behind the last message.

        Raises `ProblemError` if the relay refuses, `ConnectionFailed` if it cannot be reached for as long as the
        client is patient.
        """
        clock = self._watching.clock
        failing_since: float | None = None
        while True:
            try:
                for event in self._connected():
                    failing_since = None
                    self.last_event_id = event.event_id
                    if event.data and event.kind != "end":
                        yield _read(event)
            except (ConnectionFailed, ProblemError) as error:
                if isinstance(error, ProblemError) and not _may_pass(error.status):
                    raise
                failing_since = failing_since or clock.monotonic()
                if clock.monotonic() - failing_since > self._watching.patience_s:
                    raise
            clock.sleep(_RETRY_S)

    def _connected(self) -> Iterator[ServerEvent]:
        exchange = self._watching.exchange
        headers = {"Accept": "text/event-stream", "User-Agent": "agent-mesh-client"}
        if exchange.tokens is not None:
            headers["Authorization"] = f"Bearer {exchange.tokens.token(exchange.audience)}"
        if self.last_event_id:
            headers["Last-Event-ID"] = self.last_event_id
        path = "/subscribe"
        url = f"{exchange.base_url}{path}?{urlencode([('topic', pattern) for pattern in self._patterns])}"
        opened = self._watching.streams.stream(Request("GET", url, headers, timeout_s=_SILENCE_S))
        if isinstance(opened, Reply):
            raise refusal(opened, Call("GET", path))
        return server_events(opened, self.last_event_id)


def _may_pass(status: int) -> bool:
    """Tell whether to connect again: what stands before an instance that dies answers 500, 502 and 504 too."""
    return status == _TOO_MANY or status >= _SERVER_ERROR


def _read(event: ServerEvent) -> RelayMessage | RelayGap:
    try:
        model = RelayGap if event.kind == "gap" else RelayMessage
        return model.model_validate_json(event.data)
    except ValidationError as error:
        raise AnswerUnreadable(f"The stream had an event that is none of the relay's: {event.kind!r}.") from error


class RelayClient:
    """A caller of the relay. Threads may share it; close it, or use it with `with`."""

    def __init__(
        self,
        base_url: str,
        *,
        audience: str | None = None,
        tokens: TokenSource | None = None,
        transport: Transport | None = None,
        streams: StreamTransport | None = None,
        clock: Clock = time,
    ) -> None:
        """Speak to the relay at `base_url`, whose tokens' audience is the same unless `audience` is given.

        Without `tokens` they are this process's own on Google Cloud. Raises `RequestInvalid` when `base_url` is no
        http(s) URL.
        """
        try:
            url = clean_base_url(base_url)
        except ValueError as error:
            raise RequestInvalid([FieldFault(field="base_url", message=str(error))]) from error
        self._clock = clock
        self._transport = transport or PooledTransport()
        self._streams = streams or PooledStreams()
        self._exchange = Exchange(url, audience or url, tokens or GoogleTokens(), self._transport, 60.0, clock)

    @classmethod
    def from_stack(cls, path: str | Path = STACK_FILE, email: str | None = None) -> Self:
        """Speak to the relay of the local stack, as `email` or its developer."""
        stack = Stack.read(path)
        relay = stack.function(RELAY)
        transport = PooledTransport()
        tokens = stack.tokens(email, transport)
        return cls(relay.url, audience=relay.audience, tokens=tokens, transport=transport)

    @classmethod
    def from_environment(cls, name: str | None = None, *, url: str | None = None, identity: str | None = None) -> Self:
        """Speak to the relay of the mesh that is meant, by the rules of `MeshClient.from_environment`.

        `url`, or AGENT_MESH_URL, is the relay's own. Raises `EnvironmentUnknown` if the environment does not know it.
        """
        chosen = choose_target(name, url=url, account=identity)
        if chosen.environment in {None, LOCAL_STACK} and chosen.url is None:
            return cls.from_stack(email=chosen.account)
        target = function_target(
            RELAY, chosen.environment, url=chosen.url, audience=chosen.audience, account=chosen.account
        )
        return cls(target.url, audience=target.audience, tokens=GoogleTokens(target.account))

    def publish(
        self, topic: str, payload: Mapping[str, JsonValue], *, idempotency_key: str | None = None
    ) -> PublishAnswer:
        """Publish a message; with a key it is repeated where that may help, and published once."""
        fields = {"topic": topic, "payload": dict(payload), "idempotency_key": idempotency_key}
        body = checked(PublishRequest, fields)
        return self._exchange.ask(
            Call("POST", "/publish", body=body, repeatable=idempotency_key is not None), PublishAnswer
        )

    def watch(self, *patterns: str, last_event_id: str = "", patience_s: float = 60.0) -> Watch:
        """Return what is published on these topics and patterns, the newest 50 of each topic first.

        With `last_event_id` it goes on behind that event. It reconnects by itself, for `patience_s` seconds in vain.
        """
        return Watch(Watching(self._exchange, self._streams, patience_s, self._clock), patterns, last_event_id)

    def history(self, topic: str) -> HistoryPage:
        """Return the newest messages of a topic, at most 50, oldest first."""
        return self._exchange.ask(Call("GET", "/history", {"topic": topic}, repeatable=True), HistoryPage)

    def presence(self, topic: str) -> Presence:
        """Return how many streams get the messages of a topic."""
        return self._exchange.ask(Call("GET", "/presence", {"topic": topic}, repeatable=True), Presence)

    def topics(self) -> Iterator[str]:
        """Yield the topics that have messages, by name, page by page."""
        cursor: str | None = None
        while True:
            page = self._exchange.ask(Call("GET", "/topics", {"cursor": cursor}, repeatable=True), TopicsPage)
            yield from page.topics
            cursor = page.next_cursor
            if cursor is None:
                return

    def close(self) -> None:
        """Let go of open connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
