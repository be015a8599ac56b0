"""axe-core's rules on both pages and in every state of them: light and dark, wide and on a phone."""

from __future__ import annotations

import time
from importlib import resources
from typing import Any, Final

from playwright.sync_api import Page, expect

from agent_mesh.ledger import LocalSigner
from tests.browser import scenes
from tests.browser.conftest import PHONE, WIDE, Opener, Scheme
from tests.browser.page_server import PageServer
from tests.browser.small_ledger import ORIGIN

AXE: Final = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
VIEWS: Final[list[tuple[Scheme, tuple[int, int]]]] = [
    ("light", WIDE),
    ("dark", WIDE),
    ("dark", PHONE),
    ("light", PHONE),
]


def faults(page: Page) -> list[str]:
    """Return every fault that axe calls serious or critical, in all views, and what it says of the element."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE)
    return [fault for scheme, size in VIEWS for fault in faults_as_seen(page, scheme, size)]


def faults_as_seen(page: Page, scheme: Scheme, size: tuple[int, int]) -> list[str]:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    found: dict[str, Any] = page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
    return [
        f"{scheme} {size}: {fault['id']} ({fault['impact']}): {node['target']} {node['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in {"serious", "critical"}
        for node in fault["nodes"]
    ]


def test_axe_finds_a_fault_where_there_is_one(opened: Opener) -> None:
    page = opened()
    page.evaluate("() => document.querySelector('main').append(document.createElement('input'))")
    assert any("label" in fault for fault in faults(page))


def test_the_live_page_has_no_serious_fault(opened: Opener, server: PageServer) -> None:
    page = opened(reduced=True)
    expect(page.get_by_text("Listening")).to_be_visible()
    assert faults(page) == []
    scenes.access(server, scenes.DENIED, time.time() - 4, allow=False)
    scenes.access(server, scenes.ALLOWED, time.time() - 3, allow=True)
    scenes.failed_task(server, scenes.FAILED_TASK, time.time() - 3)
    scenes.budget(server, time.time() - 1, 80)
    scenes.checkpoint(server, time.time(), 8)
    server.send_raw('event: gap\ndata: {"topic":"mesh.task.dead","reason":"too_old"}\n\n')
    page.locator("#figures").evaluate("(figures) => { figures.open = true; }")
    page.get_by_label("Tasks").check()
    expect(page.locator("#counted")).to_contain_text("of 13")
    page.get_by_label("Tasks").uncheck()
    expect(page.locator("#rows")).to_contain_text("may be missing")
    page.locator("#grid").press("ArrowDown")
    expect(page.locator("#rows [data-active]")).to_have_count(1)
    scenes.task(server, scenes.TASK, time.time())
    expect(page.locator("#waiting")).to_be_visible()
    assert faults(page) == []
    page.keyboard.press("?")
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.get_by_label("Search").fill("nothing-like-this")
    expect(page.get_by_role("heading", name="Nothing here matches")).to_be_visible()
    assert faults(page) == []


def test_the_page_of_a_story_has_no_serious_fault(opened: Opener, server: PageServer) -> None:
    opened.refusals_expected = True
    scenes.access(server, scenes.DENIED, time.time() - 4, allow=False)
    page = opened(f"/tx/{scenes.DENIED}", reduced=True)
    page.get_by_role("button", name="Show rule by rule").click()
    expect(page.locator(".tried")).to_be_visible()
    expect(page.locator(".summary")).to_contain_text("proved in this browser")
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert faults(page) == []
    server.ledger.signer = LocalSigner(ORIGIN, bytes(32))
    page.reload()
    expect(page.get_by_role("alert")).to_be_visible()
    assert faults(page) == []
    page.goto(f"{server.url}/tx/nothing-here")
    expect(page.get_by_role("heading", name="Nobody knows this id")).to_be_visible()
    assert faults(page) == []
    server.signed_in = False
    page.reload()
    expect(page.get_by_role("heading", name="Sign in to watch the mesh")).to_be_visible()
    assert faults(page) == []
