"""Makes the pictures in `docs/screenshots/`: `python3 noxfile.py -s screenshots`.

The page is the real one; what it shows is a scene.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser import scenes
from tests.browser.chromium import launched, program
from tests.browser.page_server import PageServer

TARGET: Final = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
WIDE: Final = (1280, 860)
PHONE: Final = (390, 844)
MOST_BYTES: Final = 300 * 1024
Scheme = Literal["light", "dark"]


def set_scene(server: PageServer) -> None:
    """Let five minutes of a small mesh pass."""
    chance = random.Random(7)
    start = time.time() - 295
    for number in range(58):
        at = start + number * 5
        agent = chance.choice(["light", "summarizer", "trainer"])
        scenes.task(server, f"task_{number:02d}Qm2xV9cLr", at, agent=agent, cents=chance.choice([2, 5, 5, 12, 40]))
        if number % 3 == 0:
            scenes.access(server, f"5a1f{number:04d}-4d55-9d5e-0f4f6d1c2a11", at + 1, allow=number % 2 == 0)
        if number % 4 == 0:
            scenes.checkpoint(server, at + 1.5, 14)
    scenes.budget(server, time.time() - 9, 80)
    scenes.failed_task(server, scenes.FAILED_TASK, time.time() - 8)
    scenes.access(server, scenes.ALLOWED, time.time() - 4, allow=True)
    scenes.access(server, scenes.DENIED, time.time() - 3, allow=False)
    scenes.task(server, scenes.TASK, time.time() - 2)
    scenes.checkpoint(server, time.time() - 1, 9)


def shoot(browser: Browser, server: PageServer, scheme: Scheme, size: tuple[int, int], suffix: str = "") -> None:
    """Take a picture of the list and of a story."""
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(server.url)
    expect(page.locator("#rows")).to_contain_text("session risk too high")
    page.wait_for_timeout(1200)  # until the graph is drawn again
    page.screenshot(path=TARGET / f"live-{scheme}{suffix}.png")
    page.goto(f"{server.url}/tx/{scenes.DENIED}")
    page.get_by_role("button", name="Show rule by rule").click()
    expect(page.locator(".tried")).to_be_visible()
    page.locator(".proof").last.evaluate("(proof) => { proof.open = true; }")
    expect(page.locator(".summary")).to_contain_text("proved")
    page.mouse.move(0, 0)
    page.evaluate("() => scrollTo(0, 0)")
    page.screenshot(path=TARGET / f"story-{scheme}{suffix}.png")
    context.close()


def main() -> int:
    """Make all pictures; return the exit code."""
    found = program()
    if found is None:
        print("screenshots need Chromium on PATH: apt-get install chromium", file=sys.stderr)  # noqa: T201
        return 1
    TARGET.mkdir(exist_ok=True)
    server = PageServer()
    server.start()
    set_scene(server)
    with sync_playwright() as driver:
        browser = launched(driver, found)
        shoot(browser, server, "light", WIDE)
        shoot(browser, server, "dark", WIDE)
        shoot(browser, server, "dark", PHONE, "-phone")
        browser.close()
    server.stop()
    too_large = [path.name for path in TARGET.glob("*.png") if path.stat().st_size > MOST_BYTES]
    if too_large:
        print(f"too large for the repository: {', '.join(too_large)}", file=sys.stderr)  # noqa: T201
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
