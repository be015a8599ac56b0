"""What stands for a browser: cookies, and redirects between issuer and dashboard."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any, Final
from urllib.parse import urlencode

import urllib3

HTTP: Final = urllib3.PoolManager(timeout=20.0, retries=False)


class Browser:
    """Keeps cookies as a browser does, and follows redirects between issuer and dashboard."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, url: str, **headers: str) -> urllib3.BaseHTTPResponse:
        """Ask, and read the whole answer."""
        return self._ask(method, url, headers, whole=True)

    def watch(self, query: str) -> urllib3.BaseHTTPResponse:
        """Open a stream, to be read as it comes."""
        return self._ask("GET", f"{self.origin}/api/stream?{query}", {}, whole=False)

    def _ask(self, method: str, url: str, headers: dict[str, str], *, whole: bool) -> urllib3.BaseHTTPResponse:
        own = url.startswith(self.origin)
        cookie = {"Cookie": "; ".join(f"{name}={text}" for name, text in self.cookies.items())} if own else {}
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        answer = HTTP.request(method, url, headers={**cookie, **named}, redirect=False, preload_content=whole)
        for line in answer.headers.getlist("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.cookies.pop(name, None)
                if morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
        return answer

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        answer = self.ask("GET", self.origin + path, **headers)
        return answer.status, answer.json() if "json" in answer.headers["Content-Type"] else answer.data

    def sign_in(self, **query: str) -> str:
        """Follow every redirect, from the sign-in on; return where it ends."""
        url = f"{self.origin}/auth/login?{urlencode(query)}"
        for _ in range(6):
            answer = self.ask("GET", url)
            if answer.status not in {302, 303}:
                break
            url = answer.headers["Location"]
        return url
