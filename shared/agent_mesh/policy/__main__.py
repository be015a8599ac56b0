"""`python -m agent_mesh.policy` runs the Rego tests of all bundles in this package."""

from __future__ import annotations

import sys

from agent_mesh.policy.bundles import bundle_names, packaged_bundle
from agent_mesh.policy.errors import BundleRefused
from agent_mesh.policy.rego_tests import run_tests


def main() -> int:
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
    sys.exit(main())
