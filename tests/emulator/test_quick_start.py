"""A server process imports what it serves with, and the rest when it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

STARTED = """
import sys
from emulator.quick_start import quick_imports
from emulator.{name} import __main__
with quick_imports():
    if "{name}" == "pubsub":
        __main__.skip_package_init("google.pubsub_v1")
    import emulator.{name}.server
heavy = {{"ssl", "_ssl", "_hashlib", "urllib3", "google.iam.v1.policy_pb2"}}
print(sorted(heavy & sys.modules.keys()))
import ssl
print(ssl.create_default_context().check_hostname)
"""


@pytest.mark.parametrize("name", ["firestore", "pubsub"])
def test_a_server_process_starts_without_tls_and_can_load_it_later(name: str) -> None:
    """OpenSSL and the HTTP client are not there at the start, and work once somebody imports them."""
    words = [sys.executable, "-c", STARTED.format(name=name)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # which imports more
    answer = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60, env=plain)
    assert answer.stdout.split("\n")[:2] == ["[]", "True"]
