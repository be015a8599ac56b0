"""The stream over WebSocket: the events of `sse`, each a message of JSON text.

`{"event": "message", "id": "...", "data": {"id", "ts", "topic", "payload"}}`, `{"event": "gap", "data": {...}}`,
`{"event": "end", "data": {"reason"}}`, and `{"event": "id", "id": "..."}` where `Last-Event-ID` moves on without a
message. The server pings; a client that shows no life for two heartbeats is left.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from agent_mesh.contracts.values import to_json
from agent_mesh.platform.websocket import GOING_AWAY, NORMAL, TRY_AGAIN_LATER, WebSocket
from agent_mesh.relay.instance import LiveStream
from agent_mesh.relay.stream import Delivery, End, Gap, Heartbeat, StreamEvent
from agent_mesh.relay.subscriber import EndReason

_CODES: Final = {
    EndReason.RECYCLED: NORMAL,
    EndReason.GONE: NORMAL,
    EndReason.SHUTDOWN: GOING_AWAY,
    EndReason.SLOW: TRY_AGAIN_LATER,
    EndReason.UNAVAILABLE: TRY_AGAIN_LATER,
}
_SILENT_BEATS: Final = 2
_BETWEEN_PINGS_SECONDS: Final = 5.0


def serve(websocket: WebSocket, stream: LiveStream) -> None:
    """Send the stream until it or the client ends."""
    try:
        _serve(websocket, stream)
    except OSError:  # the client has gone
        return
    finally:
        stream.close()


def _serve(websocket: WebSocket, stream: LiveStream) -> None:
    silent, cursor, pinged = 0, None, -_BETWEEN_PINGS_SECONDS
    for batch in stream.batches():
        if websocket.heard():
            silent = 0
        stream.listen_again()
        for event in batch:
            if not websocket.open:
                return
            if event == Heartbeat(cursor) and monotonic() - pinged < _BETWEEN_PINGS_SECONDS:
                continue  # what the client said has woken us, a pong perhaps: an answer would wake us for ever
            cursor = event.cursor if isinstance(event, (Delivery, Heartbeat)) else cursor
            text = frame(event)
            if text is not None:
                websocket.send(text)
            if isinstance(event, Heartbeat):
                websocket.ping()
                silent, pinged = silent + 1, monotonic()
            elif isinstance(event, End):
                websocket.close(_CODES[event.reason], event.reason.value)
        if silent > _SILENT_BEATS:
            return


def frame(event: StreamEvent) -> str | None:
    """Return the message of one event, None for one that has nothing to say."""
    match event:
        case Delivery(message, cursor):
            return f'{{"event":"message","id":"{cursor}","data":{message.data}}}'
        case Gap(topic, reason):
            return to_json({"event": "gap", "data": {"topic": topic, "reason": reason.value}})
        case Heartbeat(None):
            return None
        case Heartbeat(cursor):
            return to_json({"event": "id", "id": cursor})
        case End(reason):
            return to_json({"event": "end", "data": {"reason": reason.value}})
