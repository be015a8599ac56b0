import json
import os
import zipfile
from pathlib import Path

import pytest

from infra import packaging
from infra.packaging import Role

ROLE = Role("echo", "functions/echo", "echo")
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one role and a package of two modules."""
    root = tmp_path / "tree"
    files = {
        ".gitignore": "__pycache__/\n*.secret\n",
        "functions/echo/main.py": "def echo(request): ...\n",
        "functions/echo/requirements.txt": "functions-framework\n",
        "functions/echo/notes.txt": "not deployed\n",
        "infra/roles.json": json.dumps({"roles": {"echo": {"source": ROLE.source, "entryPoint": "echo"}}}),
        "shared/agent_mesh/__init__.py": "",
        "shared/agent_mesh/contracts/values.py": "LIMIT = 1\n",
        "shared/agent_mesh/py.typed": "",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


def test_the_zip_holds_the_function_with_the_package_beside_it(tree: Path, tmp_path: Path) -> None:
    assert names(packaging.build(tree, ROLE, tmp_path)) == [
        "agent_mesh/__init__.py",
        "agent_mesh/contracts/values.py",
        "agent_mesh/py.typed",
        "main.py",
        "requirements.txt",
    ]


def test_the_same_tree_gives_the_same_bytes_whenever_and_by_whomever_it_is_built(tree: Path, tmp_path: Path) -> None:
    first = packaging.build(tree, ROLE, tmp_path / "first").read_bytes()
    main = tree / ROLE.source / "main.py"
    main.chmod(0o777)
    os.utime(main, (0, 0))
    assert packaging.build(tree, ROLE, tmp_path / "second").read_bytes() == first


def test_another_content_gives_another_digest(tree: Path, tmp_path: Path) -> None:
    first = packaging.digest(packaging.build(tree, ROLE, tmp_path / "first"))
    (tree / "shared/agent_mesh/contracts/values.py").write_text("LIMIT = 2\n")
    assert packaging.digest(packaging.build(tree, ROLE, tmp_path / "second")) != first


def test_what_git_ignores_is_not_deployed(tree: Path, tmp_path: Path) -> None:
    before = names(packaging.build(tree, ROLE, tmp_path))
    (tree / "shared/agent_mesh/__pycache__").mkdir()
    (tree / "shared/agent_mesh/__pycache__/values.pyc").write_bytes(b"stale")
    (tree / "shared/agent_mesh/key.secret").write_text("never")
    assert names(packaging.build(tree, ROLE, tmp_path)) == before


def test_a_name_that_is_not_ascii_survives(tree: Path, tmp_path: Path) -> None:
    (tree / "shared/agent_mesh/größe.json").write_text("{}")
    assert "agent_mesh/größe.json" in names(packaging.build(tree, ROLE, tmp_path))


def test_every_entry_is_a_plain_file_anyone_may_read(tree: Path, tmp_path: Path) -> None:
    (tree / ROLE.source / "main.py").chmod(0o600)
    with zipfile.ZipFile(packaging.build(tree, ROLE, tmp_path)) as opened:
        assert {entry.external_attr >> 16 for entry in opened.infolist()} == {0o100644}
        assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_missing_file_is_named_and_leaves_no_zip(tree: Path, tmp_path: Path) -> None:
    (tree / ROLE.source / "requirements.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"role echo needs functions/echo/requirements\.txt"):
        packaging.build(tree, ROLE, tmp_path / "dist")
    assert not list((tmp_path / "dist").iterdir())


def test_roles_are_read_from_the_one_place_that_declares_them(tree: Path) -> None:
    assert packaging.roles(tree) == [ROLE]


def test_every_role_is_locked_to_the_same_versions() -> None:
    locks = {(REPOSITORY / role.source / "requirements.txt").read_text() for role in packaging.roles(REPOSITORY)}
    assert len(locks) == 1


def test_every_version_a_function_runs_is_the_version_the_tests_ran() -> None:
    def pins(lock: Path) -> set[str]:
        return {line.split()[0] for line in lock.read_text().splitlines() if "==" in line}

    tested = pins(REPOSITORY / "requirements/dev.txt")
    for role in packaging.roles(REPOSITORY):
        assert pins(REPOSITORY / role.source / "requirements.txt") <= tested
