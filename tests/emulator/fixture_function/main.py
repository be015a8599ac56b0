"""A function for the tests of the stack: remembers what it was sent and answers as it was told."""

from __future__ import annotations

import base64
import collections
import os
import threading
import time

import flask
import functions_framework

_lock = threading.Lock()
_seen: list[dict[str, object]] = []
deliveries: collections.Counter[str] = collections.Counter()


@functions_framework.http
def fixture(request: flask.Request) -> flask.typing.ResponseReturnValue:
    if request.path in {"/healthz", "/health"}:
        return "ok"
    if request.path == "/seen":
        with _lock:
            return flask.jsonify(_seen)
    if request.path == "/environment":
        return flask.jsonify(dict(os.environ))
    if request.path == "/whoami":
        return flask.jsonify(_whoami(request.args["audience"]))
    return _receive(request)


def _receive(request: flask.Request) -> tuple[str, int]:
    """Message data `fail:N` is refused N times, `slow:S` takes S seconds, anything else is acked with 202."""
    body = request.get_json(silent=True) or {}
    message = body.get("message", {})
    text = base64.b64decode(message.get("data", "")).decode()
    word, _, number = text.partition(":")
    with _lock:
        _seen.append(
            {
                "at": time.time(),
                "path": request.path,
                "authorization": request.headers.get("Authorization", ""),
                "text": text,
                "messageId": message.get("messageId"),
                "body": body,
            }
        )
        deliveries[message.get("messageId", "")] += 1
        before = deliveries[message.get("messageId", "")]
    if word == "slow":
        time.sleep(float(number))
    refused = word == "fail" and before <= int(number) and request.path != "/dead"
    return ("no", 503) if refused else ("", 202)


def _whoami(audience: str) -> dict[str, str]:
    import google.auth.transport.requests
    import google.oauth2.id_token

    request = google.auth.transport.requests.Request()
    return {"token": google.oauth2.id_token.fetch_id_token(request, audience)}  # type: ignore[no-untyped-call]
