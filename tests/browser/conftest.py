"""A headless Chromium, and the page in it behind a server of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.chromium import launched, program
from tests.browser.page_server import PageServer

expect.set_options(timeout=15_000)  # somebody else may have the processor for a while


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


Scheme = Literal["light", "dark"]
WIDE: Final = (1280, 820)
PHONE: Final = (360, 740)
_NETWORK: Final = "Failed to load resource"
"""Chromium itself writes so to the console for every refusal and lost connection; no page can prevent it."""

_WATCH_POLICY: Final = (
    "addEventListener('securitypolicyviolation', (event) => console.error("
    "`policy violation: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`))"
)


@dataclass
class Opener:
    """Opens pages of a server, and keeps what their consoles said."""

    browser: Browser
    server: PageServer
    faults: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)
    refusals_expected: bool = False

    def __call__(
        self,
        path: str = "/",
        *,
        size: tuple[int, int] = WIDE,
        scheme: Scheme = "light",
        reduced: bool = False,
        script: str = "",
    ) -> Page:
        """Open a path in a browser that has never been here; `script` runs before the page's own."""
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            reduced_motion="reduce" if reduced else "no-preference",
            has_touch=size == PHONE,
        )
        self.contexts.append(context)
        context.set_default_timeout(15_000)
        context.add_init_script(_WATCH_POLICY + "\n" + script)
        page = context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.goto(path if path.startswith("about:") else self.server.url + path)
        return page

    def close(self) -> None:
        """Close what was opened."""
        for context in self.contexts:
            context.close()

    def _said(self, message: ConsoleMessage) -> None:
        known = self.refusals_expected and message.text.startswith(_NETWORK)
        if message.type in {"error", "warning"} and not known:
            self.faults.append(f"{message.type}: {message.text} {message.location}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module's tests: its driver runs an event loop, and others have to end before theirs begin."""
    found = program()
    if found is None:
        pytest.skip("browser tests need Chromium on PATH: apt-get install chromium")
    with sync_playwright() as driver:
        browser = launched(driver, found)
        yield browser
        browser.close()


@pytest.fixture
def server() -> Iterator[PageServer]:
    """What is behind the page."""
    running = PageServer()
    running.start()
    yield running
    if running.listening:
        running.stop()


@pytest.fixture
def opened(chromium: Browser, server: PageServer) -> Iterator[Opener]:
    """Opens pages; at the end no console may have said anything."""
    opener = Opener(chromium, server)
    yield opener
    opener.close()
    assert opener.faults == []


@pytest.fixture(scope="module")
def modules(chromium: Browser) -> Iterator[Callable[[str, Any], Any]]:
    """Runs the body of an async function with `arg`, where modules of the page are loaded by name."""
    server = PageServer()
    server.start()
    opener = Opener(chromium, server)
    page = opener()

    def run(body: str, arg: Any = None) -> Any:
        load = "const load = (name) => import(`/static/${name}.js`);"
        return page.evaluate(f"async (arg) => {{ {load} {body} }}", arg)

    yield run
    opener.close()
    server.stop()
    assert opener.faults == []
