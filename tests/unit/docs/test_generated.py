"""The generated documentation says what the code says."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from agent_mesh.cli._app import app
from agent_mesh.contracts.problems import MeshError
from agent_mesh.docs import __main__ as command
from agent_mesh.docs import _files
from agent_mesh.docs._api import routes
from agent_mesh.docs._codes import FAULT_CODES, declared_codes
from agent_mesh.docs._command_line import commands
from agent_mesh.docs._errors import problem_classes
from agent_mesh.docs._events import emitted
from agent_mesh.docs._fields import FIELD_MEANINGS, meaning
from agent_mesh.docs._markdown import Undocumented, require_equal, table, with_block
from agent_mesh.docs._roles import agent, every_role
from agent_mesh.platform.app import FunctionApp
from agent_mesh.platform.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
ROLES = json.loads((ROOT / "infra" / "roles.json").read_text())["roles"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_generated_files_are_up_to_date() -> None:
    """`python3 noxfile.py -s docs` brings them up to date."""
    assert _files.outdated(_files.generated_files()) == []


def test_every_setting_stands_in_the_page_and_in_the_example() -> None:
    for field in Settings.model_fields.values():
        assert f"| `{field.validation_alias}` |" in read("docs/settings.md")
        assert f"\n#{field.validation_alias}=" in read("config.example.env")


def test_the_example_without_its_marks_is_a_configuration_that_starts() -> None:
    lines = [line[1:] for line in read("config.example.env").splitlines() if re.match(r"#[A-Z_]+=", line)]
    assert Settings.from_environment(dict(line.split("=", 1) for line in lines)) == Settings.from_environment({})


def test_every_problem_stands_in_the_page() -> None:
    kinds = list(problem_classes(MeshError))
    assert len(kinds) == len({kind.code for kind in kinds})
    assert [kind.code for kind in kinds if f"| `{kind.code}` | {kind.status} |" not in read("docs/errors.md")] == []


def test_the_codes_of_faults_are_those_that_the_code_has() -> None:
    assert declared_codes(ROOT / "shared" / "agent_mesh") == set(FAULT_CODES)


@pytest.mark.parametrize(
    "source",
    [
        'TaskFault(code="brand_new", detail="")',
        'Outcome.refused(RunStatus.DEAD, fault.code if fault else "brand_new", "")',
        'raise TerminalError("", code="brand_new")',
        'attributes.get("deadLetterReason", "brand_new")',
        '_REFUSALS = {"brand_new": RunStatus.DEAD}',
        'def __init__(self, *, code: str = "brand_new"): ...',
    ],
)
def test_a_code_without_an_explanation_is_found(source: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(source)
    assert declared_codes(tmp_path) == {"brand_new"}


def test_events_have_one_type_each_and_stand_in_the_page() -> None:
    types = [event.type for event in emitted()]
    assert len(types) == len(set(types))
    assert [each for each in types if f"| `{each}` |" not in read("docs/events.md")] == []


def test_events_are_made_in_known_places_only() -> None:
    """Another place needs an entry in `agent_mesh/docs/_events.py`, which runs these."""
    sources = {
        str(path.relative_to(ROOT / "shared" / "agent_mesh"))
        for path in (ROOT / "shared" / "agent_mesh").rglob("*.py")
        if re.search(r"events\.emit\(", path.read_text(encoding="utf-8"))
    }
    assert sources == {
        "agents/delivery.py",
        "dispatch/results.py",
        "ledger/audit_log.py",
        "policy/acts.py",
        "policy/evaluation.py",
        "policy/shadow.py",
        "relay/permissions.py",
    }


def test_the_readme_lists_the_commands_of_help() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"NO_COLOR": "1", "COLUMNS": "160"}).stdout
    listed = re.findall(r"^\| `agent-mesh ([\w-]+)` \| (.*?) \|$", read("README.md"), flags=re.MULTILINE)
    assert listed == commands()
    assert [name for name, words in listed if not re.search(rf"\b{name}\b\s+{re.escape(words)}", shown)] == []


def loaded(role: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"main_of_{role}", ROOT / ROLES[role]["source"] / "main.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def served(module: ModuleType) -> FunctionApp:
    if isinstance(getattr(module, "app", None), FunctionApp):
        return module.app  # type: ignore[no-any-return]  # it is one, as was just seen
    return module.agent.function().app  # type: ignore[no-any-return]


def calls(app: FunctionApp) -> Iterator[tuple[str, str]]:
    for path, operations in app.flask.api_doc["paths"].items():
        yield from ((method.upper(), path) for method in operations)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_serves_the_documented_routes(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FUNCTION_TARGET", "K_SERVICE"):
        monkeypatch.delenv(variable, raising=False)
    documented = next((each for each in every_role() if each.name == role), agent())
    assert set(calls(served(loaded(role, monkeypatch)))) == {(each.method, each.path) for each in routes(documented)}


PAGES = {"/", "/tx/{tx_id}", "/static/{name}", "/auth/login", "/auth/callback", "/auth/logout"}


def test_nobody_may_call_a_route_without_an_allow_list_but_health() -> None:
    for role in every_role():
        for route in routes(role):
            pages = PAGES if role.name == "dashboard" else set()
            assert route.access.public == (route.path in {"/health", "/healthz"} | pages)
            assert route.access.public or route.access.emails


def test_a_meaning_that_no_field_needs_any_more_is_noticed() -> None:
    schemas = [role.openapi["components"]["schemas"] for role in every_role()]
    fields = {
        name
        for each in schemas
        for owner, schema in each.items()
        for field in schema.get("properties", {})
        for name in (field, f"{owner}.{field}")
    }
    queried = {each["name"] for role in every_role() for route in routes(role) for each in route.query}
    assert sorted(set(FIELD_MEANINGS) - fields - queried - {f"query.{name}" for name in queried}) == []


def test_a_field_without_a_meaning_is_refused() -> None:
    with pytest.raises(Undocumented, match="brandNew of Task"):
        meaning("Task", "brandNew", {})


def test_check_names_what_is_out_of_date_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "generated_files", lambda: {"a.md": "new", "b/c.md": "new"})
    monkeypatch.setattr(command, "outdated", lambda files: _files.outdated(files, tmp_path))
    monkeypatch.setattr(command, "ROOT", tmp_path)
    (tmp_path / "a.md").write_text("old")
    assert command.main(["--check"]) == 1
    assert capsys.readouterr().out == "a.md: is out of date\nb/c.md: is out of date\n"
    assert (tmp_path / "a.md").read_text() == "old"
    assert command.main([]) == 0
    assert (tmp_path / "b" / "c.md").read_text() == "new"
    assert command.main(["--check"]) == 0


def test_what_is_undocumented_stops_the_command_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gap() -> dict[str, str]:
        raise Undocumented("setting X has no description")

    monkeypatch.setattr(command, "generated_files", gap)
    assert command.main([]) == 1
    assert "setting X has no description" in capsys.readouterr().err


def test_differences_between_code_and_words_are_named_both_ways() -> None:
    with pytest.raises(Undocumented, match="codes without an explanation: b"):
        require_equal("codes", ["a", "b"], ["a"])
    with pytest.raises(Undocumented, match="codes explained but nowhere in the code: b"):
        require_equal("codes", ["a"], ["a", "b"])


def test_a_block_is_replaced_between_its_markers_only() -> None:
    text = "before\n<!-- generated:x -->\nold\n<!-- /generated:x -->\nafter"
    assert with_block(text, "x", "new") == text.replace("old", "\nnew\n")
    with pytest.raises(Undocumented, match="generated:y"):
        with_block(text, "y", "new")


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(["a"], [["x | y\nz"]]).splitlines()[-1] == "| x \\| y z |"
