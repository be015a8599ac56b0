"""What can be said of the page's files without a browser. What it does in one is tried in tests/browser."""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

import pytest

STATIC: Final = resources.files("agent_mesh.dashboard").joinpath("static")
FILES: Final = {file.name: file.read_text(encoding="utf-8") for file in STATIC.iterdir()}
MODULES: Final = {name: text for name, text in FILES.items() if name.endswith(".js")}
PAGE: Final = FILES["index.html"]
CLASSIC: Final = "first-paint.js"


def test_every_module_is_loaded_with_the_first_one() -> None:
    preloaded = re.findall(r'<link rel="modulepreload" href="/static/([^"]+)">', PAGE)
    assert sorted([*preloaded, "main.js", CLASSIC]) == sorted(MODULES)


def test_the_page_names_no_file_that_is_not_there() -> None:
    named = re.findall(r'"/static/([^"]+)"', PAGE + FILES["manifest.json"])
    imported = re.findall(r'from "\./([^"]+)"', "".join(MODULES.values()))
    assert {*named, *imported} <= FILES.keys()


def test_every_element_that_a_module_looks_up_is_on_the_page() -> None:
    asked = set(re.findall(r'byId\("([^"]+)"\)', "".join(MODULES.values())))
    made = set(re.findall(r'\bid: "([^"]+)"', "".join(MODULES.values())))
    assert asked - made <= set(re.findall(r'\bid="([^"]+)"', PAGE))


def test_nothing_inline_stands_on_the_page() -> None:
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", PAGE) == []


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_asks_no_other_origin_for_anything(name: str) -> None:
    code = re.sub(r"^\s*//.*$", "", FILES[name], flags=re.MULTILINE)
    foreign = [
        found
        for found in re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+[^\s\"'`]*", code)
        if "www.w3.org/2000/svg" not in found
    ]
    assert foreign == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_parses_no_text_as_markup_or_code(name: str) -> None:
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser|setHTML"
    assert re.findall(sinks, MODULES[name]) == []


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_is_as_short_as_the_house_wants_it(name: str) -> None:
    assert len(FILES[name].splitlines()) <= 400
