"""The page's files, as the package has them: read once, told apart by a hash of their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final

INDEX: Final = "index.html"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_UNKNOWN: Final = "application/octet-stream"


@dataclass(frozen=True)
class StaticFile:
    """One file. `etag` is without quotes."""

    content: bytes
    content_type: str
    etag: str


class StaticFiles:
    """A folder's files by their path in it. What is asked for is looked up, never opened: no path leads out of it."""

    def __init__(self, folder: Traversable | None = None) -> None:
        """Take the package's own folder, if no other is given; nothing is read yet."""
        self._folder = folder or resources.files("agent_mesh.dashboard").joinpath("static")

    def get(self, path: str) -> StaticFile | None:
        """Return a file, None if there is none of this name."""
        return self._files.get(path)

    @cached_property
    def _files(self) -> dict[str, StaticFile]:
        return dict(_files_of(self._folder, "")) if self._folder.is_dir() else {}


def _files_of(folder: Traversable, prefix: str) -> Iterator[tuple[str, StaticFile]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _files_of(entry, f"{name}/")
            continue
        content = entry.read_bytes()
        kind = _TYPES.get(PurePosixPath(name).suffix, _UNKNOWN)
        yield name, StaticFile(content, kind, hashlib.sha256(content).hexdigest()[:32])
