"""Only the console's own page, and programs on this machine, may use the console.

Any page in the browser can send requests to 127.0.0.1 (cross-site request forgery), and a name that resolves to it
(DNS rebinding) makes them same-origin. Against the second stands the Host header, which names what the page was
loaded from; against the first Origin, Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/) and, for what changes
something, a content type that no form can send.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from emulator.console.answers import Problem
from emulator.httpd import LOOPBACK, Request

_JSON: Final = "application/json"
_OWN_SITES: Final = frozenset({"same-origin", "none"})


def check_host(request: Request, port: int) -> None:
    """Raise Problem unless the console was called by one of its own names."""
    host = request.headers.get("host", "")
    if host not in _own_hosts(port):
        raise _forbidden(f"the console is http://{LOOPBACK}:{port}, not {host!r}")


def check_caller(request: Request, port: int) -> None:
    """Raise Problem when a page of another site asks."""
    origin = request.headers.get("origin")
    if origin is not None and origin not in {f"http://{host}" for host in _own_hosts(port)}:
        raise _forbidden(f"pages of {origin} may not use the console")
    site = request.headers.get("sec-fetch-site", "none")
    if site not in _OWN_SITES:
        raise _forbidden(f"other sites' pages may not use the console (Sec-Fetch-Site is {site})")
    if request.method == "POST" and request.headers.get("content-type", "").partition(";")[0].strip() != _JSON:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send the body with Content-Type: {_JSON}")


def _own_hosts(port: int) -> set[str]:
    return {f"{LOOPBACK}:{port}", f"localhost:{port}"}


def _forbidden(why: str) -> Problem:
    return Problem(HTTPStatus.FORBIDDEN, why)
