"""The page on which a person chooses the account to sign in with. It needs no script and no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Final

from emulator.httpd import Reply

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; }
main { box-sizing: border-box; width: min(100%, 26rem); padding: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0 0 .25rem; }
p { margin: 0 0 1.25rem; }
form { margin: 0 0 1rem; }
label { display: block; margin-bottom: .25rem; }
input, button { box-sizing: border-box; width: 100%; font: inherit; padding: .6rem .75rem; border-radius: .4rem;
  border: 1px solid #767676; overflow-wrap: anywhere; }
button { cursor: pointer; }
.first { background: #0b57d0; border-color: #0b57d0; color: #fff; }
label + input { margin-bottom: .5rem; }
:focus-visible { outline: 3px solid #f29900; outline-offset: 2px; }
[role=alert] { border-left: 4px solid #c5221f; padding-left: .75rem; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_HEADERS: Final = {
    "Cache-Control": "no-store",
    # form-action also covers where the form's answer leads: back to an address on this machine.
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self' http://127.0.0.1:* http://localhost:*"
        "; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_NOT_PASSED_ON: Final = frozenset({"account", "cancel", "login_hint", "prompt"})


def account_page(action: str, asked: Mapping[str, str], usual: str, fault: str = "") -> Reply:
    """The page: continue as the ``usual`` account, or as another. Its forms repeat what was ``asked``."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(text)}">'
        for name, text in asked.items()
        if name not in _NOT_PASSED_ON
    )
    begin = f'<form method="get" action="{escape(action)}">{hidden}'
    hint = escape(asked.get("account") or asked.get("login_hint", ""))
    alert = f'<p role="alert">{escape(fault)}</p>' if fault else ""
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in - local issuer</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>Sign in</h1>
<p>The issuer of this machine stands in for Google. <strong>{escape(asked["client_id"][:200])}</strong> wants to know
who you are.</p>
{alert}
{begin}<button class="first" name="account" value="{escape(usual)}">Continue as {escape(usual)}</button></form>
{begin}
<label for="account">Another e-mail</label>
<input id="account" name="account" type="email" required autocomplete="email" value="{hint}">
<button>Continue</button></form>
{begin}<button name="cancel" value="1">Cancel</button></form>
</main>
</body>
</html>
"""
    return Reply(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8", _HEADERS)
