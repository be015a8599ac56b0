from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_mesh.policy import Bundle, BundleRefused, Engine, bundle_names, packaged_bundle, read_bundle

MANIFEST = json.dumps({"release": "1.2.3", "decisions": {"trial": "p/allow"}})


def folder(place: Path, **files: str) -> Path:
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return place


def test_the_package_holds_the_bundle_mesh() -> None:
    assert "mesh" in bundle_names()
    bundle = packaged_bundle("mesh")
    assert set(bundle.decisions) == {"access", "dispatch", "relay"}
    assert set(bundle.tests) == {"access_test.rego", "dispatch_test.rego", "relay_test.rego"}


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(BundleRefused, match="there are mesh"):
        packaged_bundle("../mesh")


def test_the_version_follows_what_decides_and_nothing_else(tmp_path: Path) -> None:
    def version(**files: str) -> str:
        return read_bundle("trial", folder(tmp_path, **files)).version

    first = version(manifest__json=MANIFEST, p__rego="package p\n\nallow := true\n")
    assert first.startswith("sha256:")
    assert version(p_test__rego="package p_test\n\ntest_a := true\n") == first
    assert version(manifest__json=MANIFEST.replace("1.2.3", "1.2.4")) == first
    assert version(data__json='{"limit": 3}') != first
    assert version(data__json="{}") == first
    assert version(p__rego="package p\n\nallow := false\n") != first


def test_rules_see_the_base_document_as_data_in_any_script(tmp_path: Path) -> None:
    data = json.dumps({"names": {"größe": 'x","y":"'}}, ensure_ascii=False)
    source = 'package p\n\nallow := data.names["größe"]\n'
    place = folder(tmp_path, manifest__json=MANIFEST, p__rego=source, data__json=data)
    with Engine(read_bundle("trial", place)) as engine:
        assert engine.evaluate("p/allow", {}) == 'x","y":"'


def test_what_else_stands_in_the_folder_is_not_read(tmp_path: Path) -> None:
    place = folder(tmp_path, manifest__json=MANIFEST, p__rego="package p\n\nallow := true\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert set(read_bundle("trial", place).modules) == {"p.rego"}


@pytest.mark.parametrize(
    "files",
    [
        {"p__rego": "package p\n"},
        {"manifest__json": MANIFEST},
        {"manifest__json": "{", "p__rego": "package p\n"},
        {"manifest__json": "{}", "p__rego": "package p\n"},
        {"manifest__json": MANIFEST.replace("p/allow", "p"), "p__rego": "package p\n"},
        {"manifest__json": MANIFEST, "p__rego": "package p\n", "data__json": "[]"},
    ],
)
def test_a_bundle_that_is_incomplete_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(BundleRefused):
        read_bundle("trial", folder(tmp_path, **files))


@pytest.mark.parametrize(
    "change",
    [
        {"modules": {"p_test.rego": "package p\n"}},
        {"tests": {"p.rego": "package p\n"}},
        {"modules": {"../p.rego": "package p\n"}},
        {"modules": {"p.txt": "package p\n"}},
        {"modules": {}},
        {"modules": {f"p{n}.rego": "package p\n" for n in range(101)}},
    ],
    ids=["test among rules", "rule among tests", "path", "other file", "nothing", "too many"],
)
def test_a_bundle_tells_rules_from_tests_by_their_files(change: dict[str, dict[str, str]]) -> None:
    whole = packaged_bundle("mesh").model_dump(mode="json")
    assert Bundle.model_validate_json(json.dumps(whole)) == packaged_bundle("mesh")
    with pytest.raises(ValueError, match=r"modules|tests|file"):
        Bundle.model_validate_json(json.dumps(whole | change))
