from __future__ import annotations

from pathlib import Path

import pytest

from emulator.errors import StartError
from emulator.official import FIRESTORE, PUBSUB, command_line


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An SDK with gcloud and java on PATH but no emulator."""
    tools = tmp_path / "sdk" / "bin"
    tools.mkdir(parents=True)
    for name in ("gcloud", "java"):
        (tools / name).write_text("#!/bin/sh\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    return tools.parent


def test_java_is_started_directly_when_the_jar_is_found(sdk: Path) -> None:
    jar = sdk / "platform/pubsub-emulator/lib/cloud-pubsub-emulator-1.0-all.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    line = command_line(PUBSUB, 8085, Path("/data"))
    assert line[0] == str(sdk / "bin/java")
    assert str(jar) in line
    assert line[-3:] == ("--host=127.0.0.1", "--port=8085", "--data-dir=/data")


def test_gcloud_is_the_fallback(sdk: Path) -> None:
    line = command_line(FIRESTORE, 8080, Path("/data"))
    assert line[:4] == (str(sdk / "bin/gcloud"), "beta", "emulators", "firestore")
    assert line[-1] == "--host-port=127.0.0.1:8080"


@pytest.mark.parametrize(("missing", "said"), [("java", "default-jre"), ("gcloud", "cloud.google.com/sdk")])
def test_what_is_missing_is_named_with_the_way_to_install_it(sdk: Path, missing: str, said: str) -> None:
    (sdk / "bin" / missing).unlink()
    with pytest.raises(StartError, match=said):
        command_line(FIRESTORE, 8080, Path("/data"))
