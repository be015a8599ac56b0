"""Which files are generated, whole or between markers, and whether they are up to date."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agent_mesh.docs import _api, _command_line, _errors, _events, _settings
from agent_mesh.docs._markdown import NOTICE, with_block

ROOT: Final = Path(__file__).resolve().parents[3]
"""The checkout that this package lies in."""


def generated_files(root: Path = ROOT) -> dict[str, str]:
    """Return what every generated file should hold, by its path from the root.

    Raises `Undocumented` where the code has something that no text explains.
    """
    readme = (root / "README.md").read_text(encoding="utf-8")
    readme = with_block(readme, "api", _api.overview())
    readme = with_block(readme, "help", _command_line.help_text())
    return {
        "README.md": readme,
        "docs/api.md": _page("API", _api.page()),
        "docs/errors.md": _page("Errors", _errors.page(root / "shared" / "agent_mesh")),
        "docs/events.md": _page("Events", _events.page()),
        "docs/settings.md": _page("Settings", _settings.page()),
        "config.example.env": _settings.example_file(),
    }


def outdated(files: Mapping[str, str], root: Path = ROOT) -> list[str]:
    """Return the paths whose file is missing or differs."""
    return [name for name, wanted in files.items() if _present(root / name) != wanted]


def _present(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _page(title: str, body: str) -> str:
    return f"# {title}\n\n{NOTICE}\n\n{body.strip()}\n"
