"""A stream as the answer to the request that is being served, for the relay and for any role that has streams."""

from __future__ import annotations

from typing import Final

import flask

from agent_mesh.platform.app import Content
from agent_mesh.platform.client_socket import socket_of
from agent_mesh.relay.instance import LiveStream, RelayInstance
from agent_mesh.relay.presence import Patterns
from agent_mesh.relay.sse import CONTENT_TYPE, ChunkWriter, EventBlocks

_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def open_stream(
    instance: RelayInstance, email: str, patterns: Patterns, position: str | None, *, websocket: bool = False
) -> LiveStream:
    """Return a stream to whoever asks, who is `email`; the header `Last-Event-ID` wins over `position`.

    Raises `TopicDenied`, which is an event as well, `InvalidRequest` and `Unavailable`; nothing is open then.
    """
    instance.permissions.require_patterns(email, patterns)
    last_event_id = flask.request.headers.get("Last-Event-ID") or position
    client = socket_of(flask.request.environ)
    return instance.stream(email, patterns, last_event_id, client, LiveStream.wake if websocket else None)


def event_stream(instance: RelayInstance, email: str, patterns: Patterns, position: str | None = None) -> Content:
    """Return the answer that streams Server-Sent Events; it raises as `open_stream` does."""
    stream = open_stream(instance, email, patterns, position)
    if _chunked():
        stream.write_straight(ChunkWriter)
    return Content(EventBlocks(stream), CONTENT_TYPE, headers=_HEADERS)


def _chunked() -> bool:
    """Tell whether the server sends an answer of unknown length in chunks, on the socket that it shows."""
    environ = flask.request.environ
    return environ.get("SERVER_PROTOCOL") == "HTTP/1.1" and "gunicorn.socket" in environ
