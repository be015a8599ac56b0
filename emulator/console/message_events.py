"""One message, and one piece of bad news, as a Server-Sent Event.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation.
"""

from __future__ import annotations

import base64
import codecs
import json
from typing import Final, NoReturn

from emulator.console.sources import Json
from emulator.pubsub.protos import Proto

MOST_SHOWN_BYTES: Final = 64 * 1024
HEARTBEAT: Final = b": still here\n\n"


def message_event(message: Proto) -> bytes:
    """What was published; data that is JSON or text as it was written, anything else as base64."""
    shape, data = _readable(message.data)
    shown = {
        "messageId": message.message_id,
        "publishTime": message.publish_time.ToJsonString(),
        "orderingKey": message.ordering_key,
        "attributes": dict(sorted(message.attributes.items())),
        "size": len(message.data),
        "format": shape,
        "data": data,
    }
    return _event("message", shown)


def problem_event(text: str) -> bytes:
    """Why no more messages come."""
    return _event("problem", {"message": text})


def _event(name: str, value: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()


def _readable(data: bytes) -> tuple[str, str]:
    cut = len(data) > MOST_SHOWN_BYTES
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:MOST_SHOWN_BYTES], final=not cut)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return "base64", base64.b64encode(data[:MOST_SHOWN_BYTES]).decode()
    return ("json" if not cut and _is_json(text) else "text"), text


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
