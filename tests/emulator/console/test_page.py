from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulator.console.page import FILES
from tests.emulator.console.conftest import Caller

NAMES = sorted(file.name for file in FILES.iterdir())
SCRIPTS = [name for name in NAMES if name.endswith(".js")]
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
NAMESPACES = {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("name", NAMES)
def test_each_file_has_its_type_and_cannot_be_mixed_with_others(caller: Caller, name: str) -> None:
    answer = caller.get(f"/{name}")
    assert answer.status == 200
    assert answer.headers["Content-Type"].partition(";")[0] == TYPES[name.rpartition(".")[2]]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.body == (FILES / name).read_bytes()


def test_the_page_may_load_nothing_but_its_own_files(caller: Caller) -> None:
    policy = dict(rule.strip().split(" ", 1) for rule in caller.get("/").headers["Content-Security-Policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("frame-ancestors") == policy.pop("base-uri") == policy.pop("form-action") == "'none'"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert set(policy) == {"script-src", "style-src", "connect-src", "img-src"}
    assert set(policy.values()) == {"'self'"}


def test_a_file_that_the_browser_has_is_not_sent_again(caller: Caller) -> None:
    tag = caller.get("/main.js").headers["ETag"]
    again = caller.get("/main.js", If_None_Match=tag)
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert caller.get("/main.js", If_None_Match='"other"').status == 200


@pytest.mark.parametrize("path", ["/nothing.js", "/../page.py", "/static/main.js", "/%2e%2e/page.py", "//etc/passwd"])
def test_only_the_files_of_the_page_are_served(caller: Caller, path: str) -> None:
    assert caller.get(path).status == 404


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_another_site(name: str) -> None:
    text = (FILES / name).read_text()
    assert set(re.findall(r"""(?:https?:)?//[\w.-]+\.\w[^\s"'`)]*""", text)) <= NAMESPACES


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_writes_html(name: str) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|\.style\b"
    assert not re.search(forbidden, (FILES / name).read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_import_is_a_file_of_the_page(name: str) -> None:
    imported = re.findall(r"""(?:from|import) "\./([^"]+)";""", (FILES / name).read_text())
    assert all((FILES / each).is_file() for each in imported)


def test_the_page_names_no_inline_code() -> None:
    page = (FILES / "index.html").read_text()
    assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)", page)


def test_the_stack_is_introduced(caller: Caller, tmp_path: Path) -> None:
    told = caller.get("/_local/stack").json
    assert told["project"] == caller.project
    assert told["cloud"] == "embedded"
    assert told["logs"] == str(tmp_path)
    assert told["functions"] == []
