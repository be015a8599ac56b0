"""`docs/settings.md` and `config.example.env`, from the fields of `Settings`."""

from __future__ import annotations

import inspect
from typing import Any, Final

from pydantic.fields import FieldInfo

from agent_mesh.docs._markdown import Undocumented, code, table
from agent_mesh.platform import settings as settings_module
from agent_mesh.platform.settings import Settings

_INTRODUCTION: Final = """\
Every environment variable that a deployed function reads. [`config.example.env`](../config.example.env) has them
all with their defaults. A value that cannot be used stops the start with a sentence that names the variable. An
empty value counts as not set. Lists are separated by commas.

`infra/roles.json` gives each role its allow-lists (`allow`) and its own values (`environment`); the local stack
adds the addresses of its emulators and issuer, and what stands there under `local`, where `{state}` is the state
directory.
"""

_OTHERS: Final = {
    "`FIRESTORE_EMULATOR_HOST`, `PUBSUB_EMULATOR_HOST`": (
        "Google's clients, our publisher",
        "`host:port` of local stand-ins. Never set them when deployed.",
    ),
    "`GCE_METADATA_HOST`, `GCE_METADATA_IP`": (
        "google-auth",
        "Where ID tokens are minted; the local stack points them at its issuer.",
    ),
    "`GOOGLE_CLOUD_PROJECT`": ("settings", "Used where `GCP_PROJECT` is not set."),
    "`THREADS`": (
        "functions-framework",
        "Requests that one instance serves at a time: the role's `concurrency`.",
    ),
    "`MESH_CRASH_FILE`": (
        "fault tests",
        "Names the file that arms a crash point; ignored where `K_SERVICE` is set.",
    ),
    "`AGENT_MESH_ENV`": (
        "the `agent-mesh` command, `MeshClient.from_environment`",
        "Which mesh of those that `agent-mesh login` stored; without it the local stack.",
    ),
    "`AGENT_MESH_URL`, `AGENT_MESH_AUDIENCE`, `AGENT_MESH_AS`": (
        "the `agent-mesh` command, `MeshClient.from_environment`",
        "Which mesh, for which audience, and as whom. The first two do not count beside `--url` or `--env`.",
    ),
    "`XDG_CONFIG_HOME`": (
        "the `agent-mesh` command, `MeshClient.from_environment`",
        "Where `agent-mesh/environments.json` stands; default: `~/.config`, on Windows `%APPDATA%`.",
    ),
    "`AGENT_PUSH_URL`, `ORCH_RESULTS_URL`": (
        "`python -m emulator bridge`",
        "Where the bridge delivers tasks and results when it runs alone.",
    ),
}
"""Variables that somebody else reads."""


def page() -> str:
    """Return the page."""
    rows = [[code(_variable(each)), _type(each), code(_default(each)), _meaning(each)] for each in _fields()]
    others = [[names, *told] for names, told in _OTHERS.items()]
    return "\n\n".join(
        [
            _INTRODUCTION.strip(),
            table(["variable", "type", "default", "meaning"], rows),
            "## Read by others",
            table(["variable", "read by", "meaning"], others),
        ]
    )


def example_file() -> str:
    """Return an environment file in which every variable stands, commented out, with its default."""
    head = [
        "# Every setting of a function, with its default. Written by `python3 noxfile.py -s docs`.",
        "# Take the # away from what you change. `python3 noxfile.py -s up` needs none of it.",
    ]
    blocks = [[f"# {_meaning(field)}", f"#{_variable(field)}={_default(field)}"] for field in _fields()]
    return "\n\n".join("\n".join(block) for block in [head, *blocks]) + "\n"


def _fields() -> list[FieldInfo]:
    return list(Settings.model_fields.values())


def _variable(field: FieldInfo) -> str:
    return str(field.validation_alias)


def _meaning(field: FieldInfo) -> str:
    if not field.description:
        message = f"setting {_variable(field)} has no description in {inspect.getsourcefile(settings_module)}"
        raise Undocumented(message)
    return field.description


def _default(field: FieldInfo) -> str:
    default: Any = field.default
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (int, float)):
        return f"{default:g}" if isinstance(default, float) else str(default)
    return default if isinstance(default, str) else ""


def _type(field: FieldInfo) -> str:
    kinds = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    for kind, words in kinds.items():
        if field.annotation in {kind, kind | None}:
            return words
    return "JSON" if field.default == {} else "list"
