"""Small pages without a script, for the moments of a sign-in at which the dashboard itself cannot be shown."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Final
from urllib.parse import urlencode

from agent_mesh.platform.app import Content

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; }
main { box-sizing: border-box; width: min(100%, 32rem); padding: 1.5rem; overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; margin: 0 0 .5rem; }
a { color: LinkText; }
:focus-visible { outline: 3px solid #f29900; outline-offset: 2px; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def notice(status: int, title: str, text: str, *, again: dict[str, str], link: str = "Sign in again") -> Content:
    """Return a page that says what happened, with a link to try again with these parameters. All text is escaped."""
    target = f"/auth/login?{urlencode(again)}" if again else "/auth/login"
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - Agent Mesh</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p>{escape(text)}</p>
<p><a href="{escape(target)}">{escape(link)}</a></p>
</main>
</body>
</html>
"""
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    return Content(page.encode(errors="replace"), "text/html; charset=utf-8", status, headers)
