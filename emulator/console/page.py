"""The page's files, with the headers that keep everything foreign out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from emulator.console.answers import Problem
from emulator.httpd import Reply, Request

FILES: Final = Path(__file__).resolve().parent / "static"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
)
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "; ".join(_POLICY),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_file(request: Request) -> Reply:
    """A file of the page by its path; not again if the browser has it. Raises Problem for an unknown one."""
    name = request.path.removeprefix("/") or "index.html"
    known = {file.name: file for file in FILES.iterdir()}
    if name not in known:
        raise Problem(HTTPStatus.NOT_FOUND, f"the console has no {request.path}")
    if request.method != "GET":
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} can only be read")
    body = known[name].read_bytes()
    headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'}
    kind = _TYPES[known[name].suffix]
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Reply(HTTPStatus.NOT_MODIFIED, b"", kind, headers)
    return Reply(HTTPStatus.OK, body, kind, headers)
