"""``python -m emulator up`` runs the local stack; ``python -m emulator bridge`` only the bridge."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from emulator.clouds import CLOUDS
from emulator.errors import EmulatorError
from emulator.stack import LocalStack, StackOptions

_DEFAULTS = StackOptions()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code, 1 with one line on standard error for a known error."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "bridge":
            from emulator.bridge_main import run_bridge

            run_bridge(given.roles, os.environ)
        else:
            _up(given)
    except EmulatorError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emulator", description="Run Agent Mesh on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="run the whole stack until Ctrl-C")
    up.add_argument("--cloud", choices=sorted(CLOUDS), default=_DEFAULTS.cloud, help="what stands in for Google Cloud")
    up.add_argument(
        "--state-dir", type=Path, default=_DEFAULTS.state_dir, help="logs, key and stack.json (%(default)s)"
    )
    up.add_argument("--only", nargs="+", default=(), metavar="ROLE", help="run only these roles")
    up.add_argument("--no-watch", action="store_true", help="do not restart functions when their code changes")
    up.add_argument("--forget", action="store_true", help="do not keep documents and messages over restarts")
    up.add_argument("--project", default=_DEFAULTS.project, help="project id (%(default)s)")
    bridge = commands.add_parser("bridge", help="only deliver Pub/Sub messages, configured by environment variables")
    for command in (up, bridge):
        command.add_argument("--roles", type=Path, default=_DEFAULTS.roles_file, metavar="FILE", help="the roles file")
    return parser


def _up(given: argparse.Namespace) -> None:
    from emulator.ready_table import show

    options = StackOptions(
        state_dir=given.state_dir,
        roles_file=given.roles,
        project=given.project,
        cloud=given.cloud,
        only=tuple(given.only),
        watch=not given.no_watch,
        keep=not given.forget,
    )
    stop = threading.Event()
    _interrupt_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGINT is ignored in a shell's background job
    started = time.monotonic()
    _say("starting the local stack ...")
    try:
        with LocalStack(options) as stack:
            try:
                show(sys.stdout, stack, time.monotonic() - started)
                stop.wait()
            except KeyboardInterrupt:
                _say("stopping ...")
            _ignore(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    finally:
        _ignore(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _interrupt_on(*numbers: signal.Signals) -> None:
    def interrupt(*_arguments: object) -> NoReturn:
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)


def _ignore(*numbers: signal.Signals) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
