"""The documents: files as the agents get them."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent_mesh.contracts.values import PAYLOAD_LIMIT_BYTES, to_json

ROOT: Final = Path(__file__).resolve().parents[2]
TEXT_LIMIT_BYTES: Final = 200_000
NAME_LIMIT: Final = 255


@dataclass(frozen=True)
class Document:
    """A file as the agents get it."""

    name: str
    text: str

    @property
    def payload(self) -> dict[str, Any]:
        return {"text": self.text, "name": self.name}


def markdown_files() -> list[Path]:
    """Return the repository's Markdown files: those git knows or would add, else all outside hidden folders."""
    command = ("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md")
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout  # noqa: S603  # fixed words
    except (OSError, subprocess.CalledProcessError):
        found = [
            path for path in ROOT.rglob("*.md") if not re.search(r"/\.|/node_modules/", f"/{path.relative_to(ROOT)}")
        ]
    else:
        found = [ROOT / name for name in listed.split("\0") if name]
    return sorted(path for path in found if path.is_file())


def read_document(path: Path) -> Document:
    """Read a file as text, at most 200 KB of it, and less where JSON's escapes would make it too large to send."""
    resolved = path.resolve()
    name = str(resolved.relative_to(ROOT) if resolved.is_relative_to(ROOT) else path)[-NAME_LIMIT:]
    text = resolved.read_bytes()[:TEXT_LIMIT_BYTES].decode(errors="replace")
    while len(to_json(Document(name, text).payload).encode()) > PAYLOAD_LIMIT_BYTES:
        text = text[: len(text) * 3 // 4]
    return Document(name, text)
