#!/usr/bin/env python3
"""Every chore of the repository, from a bare Python 3.11 or newer: `python3 noxfile.py -s tests [-- arguments]`.

The first start builds `.venv` from the locks. This file must parse under any Python 3, so that an old one is told so.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit("Agent Mesh needs Python 3.11 or newer; " + sys.executable + " is " + sys.version.split()[0])

from pathlib import Path

ROOT = Path(__file__).resolve().parent

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from infra.bootstrap import enter

    enter(ROOT, sys.argv[1:])  # replaces this process by nox in .venv: nothing below runs in this one

import os
import shutil
import socket
import tempfile
from collections.abc import Mapping

import nox

from infra import boot, packaging

PYTHON = sys.executable
STOP_SECONDS = 30.0  # how long an interrupted child may take to stop its own children

nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "none"


def python(session: nox.Session, *arguments: str, env: Mapping[str, str] | None = None) -> None:
    session.run(PYTHON, *arguments, env=env, interrupt_timeout=STOP_SECONDS, terminate_timeout=STOP_SECONDS)


# Half of a test's time is waiting: three processes keep two cores busy. A chosen test is over before they have started.
IN_PROCESSES = ("-n", "3", "--no-loadscope-reorder")
WITHOUT_A_SESSION = "not faults and not official and not browser"


@nox.session
def tests(session: nox.Session) -> None:
    """All tests on the embedded servers but those with a session of their own, in random order."""
    whole = [] if session.posargs else IN_PROCESSES
    python(session, "-m", "pytest", "-m", WITHOUT_A_SESSION, *whole, *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """The same, measured in every process, which takes half as long again; fails below the threshold."""
    report = ("--cov", "--cov-report=term-missing:skip-covered")
    python(session, "-m", "pytest", "-m", WITHOUT_A_SESSION, *IN_PROCESSES, *report, *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """The dashboard in headless Chromium; skipped where there is none."""
    whole = [] if session.posargs else IN_PROCESSES
    python(session, "-m", "pytest", "-m", "browser", *whole, *session.posargs)


@nox.session
def official(session: nox.Session) -> None:
    """Everything that runs on a cloud, now on Google's emulators, and the embedded servers compared with them."""
    missing = [program for program in ("gcloud", "java") if shutil.which(program) is None]
    if missing:
        session.skip(f"Google's emulators need {' and '.join(missing)} on PATH")
    whole = [] if session.posargs else ("-n", "2", "--no-loadscope-reorder")  # Java wants the rest of two cores
    chosen = ("-m", "(cloud or official) and not faults and not browser")
    python(session, "-m", "pytest", *chosen, *whole, *session.posargs, env={"MESH_CLOUD": "official"})


@nox.session
def faults(session: nox.Session) -> None:
    """Kill functions between any two lines, redeliver, and compare the final state."""
    whole = [] if session.posargs else IN_PROCESSES
    python(session, "-m", "pytest", "-m", "faults", *whole, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    python(session, "-m", "ruff", "check", *session.posargs)
    python(session, "-m", "ruff", "format", "--check", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    python(session, "-m", "mypy", *session.posargs)


@nox.session
def policy(session: nox.Session) -> None:
    """Run the Rego tests of all policy bundles."""
    python(session, "-m", "agent_mesh.policy", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """The tour: starts the local mesh, dispatches tasks, shows what happens."""
    python(session, "-m", "examples.demo", *session.posargs)


@nox.session
def up(session: nox.Session) -> None:
    """Run the local mesh until Ctrl-C."""
    sys.stdout.flush()
    sys.stderr.flush()
    # The stack replaces nox, so that a signal reaches it once and nobody cuts its clean stop short.
    os.execv(PYTHON, [PYTHON, "-m", "emulator", "up", *session.posargs])  # noqa: S606 - no shell is wanted


@nox.session
def bench(session: nox.Session) -> None:
    python(session, "-m", "benchmarks", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Write the generated tables (routes, errors, settings) into docs/; `-- --check` only compares."""
    python(session, "-m", "agent_mesh.docs", *session.posargs)


@nox.session
def screenshots(session: nox.Session) -> None:
    """Make the pictures of the dashboard in docs/screenshots/ again, in headless Chromium."""
    python(session, "-m", "tests.browser.screenshots", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Build dist/<role>.zip for all roles, or those named, and prove that each boots with its requirements alone."""
    wanted = set(session.posargs)
    with tempfile.TemporaryDirectory() as scratch:
        for role in packaging.roles(ROOT):
            if wanted and role.name not in wanted:
                continue
            archive = packaging.build(ROOT, role, ROOT / "dist")
            session.log(f"{archive.relative_to(ROOT)}: sha256 {packaging.digest(archive)}")
            seconds = boot.prove(archive, role.entry_point, Path(scratch))
            session.log(f"{role.name}: /healthz answered 200 after {seconds:.2f} s in an environment of its own")


@nox.session
def terraform(session: nox.Session) -> None:
    """Check the deployment's format, its references, and its table with mock providers, which Terraform downloads."""
    if shutil.which("terraform") is None:
        session.skip("terraform is not installed: https://developer.hashicorp.com/terraform/install")
    try:
        socket.create_connection(("registry.terraform.io", 443), timeout=STOP_SECONDS).close()
    except OSError as error:
        session.skip(f"Terraform's providers cannot be downloaded: {error}")
    with session.chdir(ROOT / "infra" / "terraform"):
        for command in (["fmt", "-check", "-recursive"], ["init", "-backend=false"], ["validate"], ["test"]):
            session.run("terraform", *command, external=True)


@nox.session(venv_backend="venv", reuse_venv=True)
def checkov(session: nox.Session) -> None:
    """Look for known weaknesses of the deployment; in an environment of its own, for it brings a hundred packages."""
    session.install("checkov==3.3.30")
    session.run(
        "checkov",
        "--directory",
        "infra/terraform",
        *("--framework", "terraform", "--compact", "--quiet", "--skip-download"),
    )


@nox.session
def lock(session: nox.Session) -> None:
    """Compile the locks again; `-- --upgrade` takes the newest versions."""
    compile_lock = (
        *("-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
        *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "python3 noxfile.py -s lock"),
    )
    development = "requirements/dev.txt"
    python(session, *compile_lock, "--extra", "dev", "pyproject.toml", "-o", development, *session.posargs)
    for role in packaging.roles(ROOT):
        function = f"{role.source}/requirements.txt"
        own = ROOT / "requirements" / f"{role.name}.in"  # what one function has more than the others, by choice
        wanted = ["requirements/function.in", *([str(own.relative_to(ROOT))] if own.exists() else [])]
        python(session, *compile_lock, "-c", development, *wanted, "-o", function)
