"""What the pages show works, and what they link to is there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError

from agent_mesh import Agent, TerminalError
from agent_mesh.docs._roles import agent as any_agent
from emulator.topology import Topology, load_topology

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The agent that the README shows, as a module."""
    (source,) = [block for block in blocks("python") if "functions_framework" in block]
    module = ModuleType("main_of_readme")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "README.md", "exec"), module.__dict__)  # noqa: S102  # our own page
    return module


def test_the_agent_of_the_readme_is_an_agent(shown: ModuleType) -> None:
    declared: Agent = shown.agent
    assert set(declared.function().app.flask.api_doc["paths"]) == set(any_agent().openapi["paths"])


def test_the_handler_of_the_readme_does_what_the_readme_shows(shown: ModuleType) -> None:
    class Reports:
        def progress(self, message: str, *, percent: float) -> None:
            assert (message, percent) == ("read 3 lines", 50)

    assert shown.count(shown.Text(text="one\n\ntwo"), Reports()) == {"lines": 3, "blank": 1}
    with pytest.raises(TerminalError, match="no lines"):
        shown.count(shown.Text(text=""), Reports())
    with pytest.raises(ValidationError):
        shown.Text()


def test_the_entries_of_the_readme_fit_the_roles_file() -> None:
    entries = [json.loads("{" + block + "}") for block in blocks("json") if block.startswith('"')]
    roles = json.loads((ROOT / "infra" / "roles.json").read_text())
    for part, entry in zip(("roles", "agents", "subscriptions"), entries, strict=True):
        assert not set(entry) & set(roles[part])
        roles[part] |= entry
    topology = Topology.model_validate_json(json.dumps(roles))
    assert topology.agents["lines"].max_cost_cents == 1
    assert load_topology(ROOT / "infra" / "roles.json") != topology


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_to_what_is_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_to_headings_that_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    }
    assert [anchor for anchor in re.findall(r"\]\(#([^)]+)\)", text) if anchor not in headings] == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    assert [each.name for each in folder.glob("0*.md") if f"({each.name})" not in listed] == []


def test_every_session_that_a_page_names_exists() -> None:
    noxfile = (ROOT / "noxfile.py").read_text()
    sessions = set(re.findall(r"^@nox.session(?:\(.*\))?\ndef (\w+)", noxfile, flags=re.MULTILINE))
    named = {
        name
        for page in PAGES
        for names in re.findall(r"noxfile\.py -s ((?:\w+ ?)+)", page.read_text(encoding="utf-8"))
        for name in names.split()[:1]
    }
    assert named <= sessions
