"""Tries a bundle in a process of its own: one that nobody tested may end the process that compiles it.

Whoever takes bundles from elsewhere than this package rehearses them before making an `Engine` of them. The process
gets no environment but what Python needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from pydantic import TypeAdapter, ValidationError

from agent_mesh.policy.bundles import Bundle
from agent_mesh.policy.errors import BundleRefused
from agent_mesh.policy.rego_tests import TestReport, run_tests

_REPORTS: Final = TypeAdapter(list[TestReport])
_UNFIT: Final = 3


def rehearse(bundle: Bundle, *, timeout_s: float = 60.0) -> list[TestReport]:
    """Return the reports of a bundle's tests; raise `BundleRefused` if it is unfit, too slow or ends its process."""
    command = [sys.executable, "-c", f"import sys; from {__name__} import main; sys.exit(main())"]
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        ended = subprocess.run(  # noqa: S603 - our own module; the bundle goes through its standard input
            command,
            input=bundle.model_dump_json().encode(),
            capture_output=True,
            check=False,
            env=environment,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise BundleRefused(f"Bundle {bundle.name} did not end its rehearsal within {timeout_s} s.") from None
    if ended.returncode == _UNFIT:
        raise BundleRefused(ended.stderr.decode(errors="replace").strip())
    if ended.returncode:
        raise BundleRefused(f"Bundle {bundle.name} ended the process that rehearsed it (exit code {ended.returncode}).")
    try:
        return _REPORTS.validate_json(ended.stdout)
    except ValidationError as error:
        raise BundleRefused(f"Bundle {bundle.name} left no reports of its rehearsal.") from error


def main() -> int:
    """Read a bundle from standard input, write the reports to standard output."""
    try:
        reports = run_tests(Bundle.model_validate_json(sys.stdin.buffer.read()))
    except BundleRefused as refused:
        sys.stderr.write(str(refused))
        return _UNFIT
    sys.stdout.buffer.write(_REPORTS.dump_json(reports))
    return 0
