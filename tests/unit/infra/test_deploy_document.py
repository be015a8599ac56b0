"""What the deployment's document, alerts and outputs tell people to type exists."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer.main

from agent_mesh.cli._app import app
from agent_mesh.contracts.tasks import DispatchRequest

ROOT = Path(__file__).parents[3]
TERRAFORM = ROOT / "infra" / "terraform"
DOCUMENT = (ROOT / "docs" / "deploy.md").read_text()
SOURCES = [ROOT / "docs" / "deploy.md", *sorted(TERRAFORM.glob("*.tf"))]
COMMAND = re.compile(r"(?:`|^|\$\()agent-mesh ([a-z][^`\n)]*)", re.MULTILINE)


def typed(text: str) -> list[list[str]]:
    """Return the words of every command, a Terraform expression being one word."""
    lines = (re.sub(r"\$\{.*?\}", "VALUE", re.sub(r"(?<= )#.*", "", found)) for found in COMMAND.findall(text))
    return [shlex.split(line) for line in lines]


COMMANDS = sorted({tuple(words) for source in SOURCES for words in typed(source.read_text())})


def test_there_are_commands_to_look_at() -> None:
    assert {words[0] for words in COMMANDS} >= {"login", "dispatch", "dead", "replay-dead", "token"}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_that_people_are_told_to_type_is_understood(words: tuple[str, ...]) -> None:
    command = typer.main.get_group(app).commands[words[0]]
    needed = [each for each in command.params if each.param_type_name == "argument" and each.required]
    command.make_context(words[0], [*words[1:], *("X" for _ in needed[len(words) - 1 :])])


def test_the_settings_of_the_document_are_variables_of_terraform() -> None:
    table = DOCUMENT.partition("## Settings of a deployment")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    declared = set(re.findall(r'^variable "(\w+)"', (TERRAFORM / "variables.tf").read_text(), re.MULTILINE))
    assert {"environment", "settings", "slo"} <= named <= declared


def test_the_outputs_of_the_document_are_outputs_of_terraform() -> None:
    asked = set(re.findall(r"terraform output -(?:raw|json) (\w+)", DOCUMENT))
    declared = set(re.findall(r'^output "(\w+)"', (TERRAFORM / "outputs.tf").read_text(), re.MULTILINE))
    assert {"try_it", "mesh", "database"} <= asked <= declared


def test_the_calls_to_try_first_run_in_a_shell(tmp_path: Path) -> None:
    outputs = (TERRAFORM / "outputs.tf").read_text()
    script = outputs.partition("<<-SHELL\n")[2].partition("  SHELL\n")[0]
    recorder = f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv))\n"
    for program in ("agent-mesh", "curl"):
        (tmp_path / program).write_text(recorder)
        (tmp_path / program).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.defpath}"}
    lines = re.sub(r"\$\{.*?\}", "https://mesh.example.com", textwrap.dedent(script))
    done = subprocess.run(
        ["sh", "-euc", lines], env=environment, check=True, capture_output=True, text=True, timeout=30
    )
    calls = [json.loads(line)[1:] for line in done.stdout.splitlines()]
    assert [urlsplit(each).path for call in calls for each in call if each.startswith("https://")] == [
        "/health",
        "/dispatch",
        "/tasks",
    ]
    body = DispatchRequest.model_validate_json(calls[1][calls[1].index("-d") + 1])
    assert body.agent in json.loads((ROOT / "infra" / "roles.json").read_text())["agents"]
    assert time.time() < body.ttl < time.time() + 120
    assert all(call[:2] == ["-H", calls[0][1]] and calls[0][1].startswith("Authorization: Bearer [") for call in calls)
