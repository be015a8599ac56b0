"""`python -m agent_mesh.policy` runs the Rego tests of all bundles in this package; with `save` it compiles them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from agent_mesh.policy.bundles import bundle_names, packaged_bundle
from agent_mesh.policy.errors import BundleRefused
from agent_mesh.policy.rego_tests import run_tests
from agent_mesh.policy.saved import compile_to_save, saved_file


def main(arguments: Sequence[str]) -> int:
    """Run the tests, or `save` the compiled form of each bundle; return 1 if something is wrong."""
    return _save() if list(arguments) == ["save"] else _test()


def _save() -> int:
    for name in bundle_names():
        text = compile_to_save(packaged_bundle(name)).model_dump_json(indent=1) + "\n"
        Path(str(saved_file(name))).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name}: saved\n")
    return 0


def _test() -> int:
    """Return 1 if a test failed, or a bundle has none: untested rules must not look tested."""
    failures = 0
    for name in bundle_names():
        try:
            reports = run_tests(packaged_bundle(name))
        except BundleRefused as refused:
            sys.stdout.write(f"REFUSED {name}: {refused}\n")
            failures += 1
            continue
        for report in reports:
            sys.stdout.write(
                f"{'ok     ' if report.passed else 'FAILED '} {name} {report.name} {report.fault}".rstrip()
            )
            sys.stdout.write("\n")
        failed = sum(not report.passed for report in reports)
        sys.stdout.write(f"{name}: {len(reports) - failed} passed, {failed} failed\n")
        failures += failed or not reports
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
