"""The headers that keep everything foreign out of the dashboard's pages and its answers out of foreign pages."""

from __future__ import annotations

from typing import Final

import flask

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_REFERENCE_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Of the API reference, whose page is not ours: it has its scripts in itself."""

_REFERENCE: Final = ("/swagger", "/docs")
_YEAR_SECONDS: Final = 31_536_000


def secured(response: flask.Response, *, https: bool) -> flask.Response:
    """Return the answer with what is missing of the headers that every answer has."""
    policy = _REFERENCE_POLICY if flask.request.path.startswith(_REFERENCE) else PAGE_POLICY
    headers = {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        # Not no-referrer: with it, forms of our own page would send `Origin: null`.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Vary": "Authorization, Cookie, Sec-Fetch-Site",
    }
    if https:
        headers["Strict-Transport-Security"] = f"max-age={_YEAR_SECONDS}"
    for name, text in headers.items():
        response.headers.setdefault(name, text)
    return response
