"""Which Chromium is driven, and how: the one of the machine, never a download."""

from __future__ import annotations

import shutil
from typing import Final

from playwright.sync_api import Browser, Playwright

_PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    """Return the path of a Chromium of this machine."""
    return next((found for name in _PROGRAMS if (found := shutil.which(name))), None)


def launched(driver: Playwright, path: str) -> Browser:
    """Return a browser without a window.

    It runs without its sandbox: a container has no user namespaces for it, and the only pages are our own.
    """
    return driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
