from __future__ import annotations

from pathlib import Path

import pytest

from emulator.__main__ import main


def test_a_known_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--roles", str(tmp_path / "none.json")]) == 1
    assert capsys.readouterr().err.startswith("error: cannot read ")


def test_an_unknown_role_is_named(roles_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--roles", str(roles_file), "--only", "gamma"]) == 1
    assert "there is no role 'gamma'" in capsys.readouterr().err


def test_the_bridge_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("PUBSUB_EMULATOR_HOST", "GCP_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    assert main(["bridge"]) == 1
    assert "PUBSUB_EMULATOR_HOST" in capsys.readouterr().err
