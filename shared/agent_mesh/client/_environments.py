"""The deployed meshes that this machine knows by name, in a file of addresses: no token is ever written.

`$XDG_CONFIG_HOME/agent-mesh/environments.json`, which is `~/.config/...` unless that is set (on Windows `%APPDATA%`).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator

from agent_mesh.client._errors import EnvironmentsUnreadable, EnvironmentUnknown, RequestInvalid
from agent_mesh.client._exchange import clean_base_url
from agent_mesh.contracts.problems import FieldFault
from agent_mesh.contracts.values import Tolerant

LOCAL_STACK: Final = "local"
"""The name of the local stack, which is never stored."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SERVICE_ACCOUNT: Final = re.compile(r"[^@\s:]+@[^@\s:]+\.gserviceaccount\.com")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Environment(Tolerant):
    """A deployed mesh: its orchestrator, and the service account that one acts as there."""

    url: str
    audience: str = Field(default="", description="Audience of the ID tokens; empty: the URL.")
    act_as: str = Field(default="", description="Service account to impersonate; empty: what the process runs as.")
    project: str = ""
    functions: dict[str, str] = Field(
        default_factory=dict, description="URLs of the functions beside the orchestrator, by role."
    )

    @field_validator("functions")
    @classmethod
    def _addresses(cls, functions: dict[str, str]) -> dict[str, str]:
        return {role: _checked_address(url) for role, url in functions.items()}

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        return _checked_address(url)

    @field_validator("act_as")
    @classmethod
    def _account(cls, email: str) -> str:
        if email and not _SERVICE_ACCOUNT.fullmatch(email):
            raise ValueError(f"{email!r} is no service account's e-mail, such as name@project.iam.gserviceaccount.com")
        return email


class Environments(Tolerant):
    """What the file holds."""

    environments: dict[str, Environment] = Field(default_factory=dict)

    @field_validator("environments")
    @classmethod
    def _names(cls, environments: dict[str, Environment]) -> dict[str, Environment]:
        for name in environments:
            _check_name(name)
        return environments

    @classmethod
    def read(cls) -> Environments:
        """Return what is stored, nothing where there is no file; raise `EnvironmentsUnreadable`."""
        path = environments_file()
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise _unreadable(path, error.strerror or str(error)) from error
        except ValidationError as error:
            fault = _fault(error)
            raise _unreadable(path, f"{fault.field}: {fault.message}") from error

    def named(self, name: str) -> Environment:
        """Return one environment; raise `EnvironmentUnknown` with the names that there are."""
        try:
            return self.environments[name]
        except KeyError:
            raise EnvironmentUnknown(_unknown(name, self.environments)) from None

    def with_environment(self, name: str, environment: Environment) -> Environments:
        """Return these and one more, or another in its place; raise `RequestInvalid` for what can be no name."""
        try:
            return Environments(environments={**self.environments, name: environment})
        except ValidationError as error:
            raise RequestInvalid([FieldFault(field="name", message=_fault(error).message)]) from error

    def without(self, name: str) -> Environments:
        """Return these without one; raise `EnvironmentUnknown`."""
        self.named(name)
        return Environments(environments={key: value for key, value in self.environments.items() if key != name})

    def write(self) -> Path:
        """Replace the file at once, readable by its owner alone; return its path, raise `EnvironmentsUnreadable`."""
        path = environments_file().resolve()
        text = self.model_dump_json(by_alias=True, exclude_defaults=True, indent=2) + "\n"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(path, text.encode())
        except OSError as error:
            raise EnvironmentsUnreadable(f"{path} cannot be written: {error.strerror or error}.") from error
        return path


def environments_file() -> Path:
    """Return where the environments stand. A relative XDG_CONFIG_HOME does not count, as its specification wants."""
    configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if not configured.is_absolute():
        appdata = os.environ.get("APPDATA", "") if sys.platform == "win32" else ""
        configured = Path(appdata) if appdata else Path.home() / ".config"
    return configured / "agent-mesh" / "environments.json"


def _checked_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("may have no password, query or fragment")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError(f"has to be https: tokens would travel in the clear to {parts.hostname}")
    return clean_base_url(url)


def _check_name(name: str) -> None:
    """Raise `ValueError` for what cannot be an environment's name."""
    if name == LOCAL_STACK:
        raise ValueError(f"{LOCAL_STACK!r} is the local stack's name; choose another")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: up to 63 letters, digits, dots, hyphens and underscores, as in prod-eu")


def _fault(error: ValidationError) -> FieldFault:
    return (RequestInvalid.of(error).problem.errors or [])[0]


def _unreadable(path: Path, fault: str) -> EnvironmentsUnreadable:
    return EnvironmentsUnreadable(
        f"{path} cannot be read: {fault}.", advice="Mend it, or remove it and store the environments again."
    )


def _unknown(name: str, known: dict[str, Environment]) -> str:
    from difflib import get_close_matches  # 3 ms at import

    there_are = ", ".join(sorted(known)) or "none"
    close = get_close_matches(name, known, n=1)
    return f"No environment {name!r} is stored; stored: {there_are}." + (
        f" Did you mean {close[0]!r}?" if close else ""
    )


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600 from the start
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
