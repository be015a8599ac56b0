"""`agent-mesh ledger witness` cosigns over HTTP, and remembers what it saw over a restart."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from agent_mesh.ledger import Note, parse_verifier_key, verify_note
from agent_mesh.ledger.errors import LedgerForked, WitnessAhead
from agent_mesh.ledger.witness_client import WitnessClient
from tests.unit.cli.conftest import Run
from tests.unit.ledger.small_log import SmallLog

SHARED = Path(__file__).parents[3] / "shared"


def a_log(*entries: str) -> SmallLog:
    log = SmallLog()
    log.append([entry.encode() for entry in entries])
    return log


@contextmanager
def witness(folder: Path, stop_by: signal.Signals = signal.SIGINT) -> Iterator[WitnessClient]:
    """Run the command until it is interrupted as by Ctrl-C, or stopped as a service is."""
    command = "from agent_mesh.cli import main; main()"
    words = ("ledger", "witness", "witness.example/w1", "--ledger", str(a_log().key), "--folder", str(folder), "--json")
    environment = {**os.environ, "PYTHONPATH": str(SHARED)}
    with subprocess.Popen([sys.executable, "-c", command, *words], stdout=subprocess.PIPE, env=environment) as running:
        try:
            assert running.stdout is not None
            lines = iter(running.stdout.readline, b"}\n")
            told = json.loads(b"".join(lines) + b"}")
            yield WitnessClient(told["url"], parse_verifier_key(told["key"]), timeout_s=10.0)
        finally:
            running.send_signal(stop_by)
            try:
                assert running.wait(20) == 0
            finally:
                running.kill()


def cosigned(client: WitnessClient, log: SmallLog) -> Note:
    note = log.checkpoint()
    return note.with_signature(client.cosign(note, log.tree.end, 0, lambda _old: []))


def test_a_checkpoint_is_cosigned_and_a_fork_refused_after_a_restart_too(tmp_path: Path) -> None:
    with witness(tmp_path / "kept") as client:
        verify_note(cosigned(client, a_log("a")), [client.key])
        first = client.key
    assert (tmp_path / "kept" / "witness.key").stat().st_mode & 0o077 == 0
    with witness(tmp_path / "kept") as client:
        assert client.key == first
        verify_note(cosigned(client, a_log("a")), [client.key])
        with pytest.raises(LedgerForked):
            cosigned(client, a_log("b"))
        with pytest.raises(WitnessAhead):
            cosigned(client, a_log())


def test_what_is_no_submission_is_refused_and_the_witness_goes_on(tmp_path: Path) -> None:
    with witness(tmp_path / "kept", signal.SIGTERM) as client, urllib3.PoolManager(retries=False) as http:
        url = client._url.removesuffix("/add-checkpoint")
        for path, body, status in [
            ("/add-checkpoint", b"", 400),
            ("/add-checkpoint", bytes(70_000), 413),
            ("/other", b"", 404),
        ]:
            assert http.request("POST", url + path, body=body).status == status
        assert http.request("GET", url + "/add-checkpoint").status == 501
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), 5) as half_sent:
            half_sent.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 10\r\n\r\nold")
            verify_note(cosigned(client, a_log("a")), [client.key])


@pytest.mark.parametrize(
    "words",
    [
        ("a name", "--ledger", str(a_log().key), "--folder", "kept"),
        ("w", "--ledger", "no key", "--folder", "kept"),
        ("w", "--ledger", str(a_log().key), "--folder", "/dev/null/kept"),
        ("w", "--ledger", str(a_log().key), "--folder", "kept", "--host", "256.0.0.1"),
    ],
)
def test_what_cannot_be_started_is_told(
    words: tuple[str, ...], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("ledger", "witness", *words, "--json")
    assert (done.code, json.loads(done.err)["code"]) == (2, "invalid_request")
