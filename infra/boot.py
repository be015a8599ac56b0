"""The proof that a function's zip is complete: it answers in an environment that holds nothing but its requirements."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 15.0


def prove(archive: Path, entry_point: str, scratch: Path) -> float:
    """Seconds from starting the production server of an unpacked zip to its first 200; raises when there is none."""
    folder = scratch / archive.stem
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    environment = environment_of(folder / "requirements.txt", scratch)
    return seconds_to_healthy(folder, entry_point, environment)


def environment_of(requirements: Path, scratch: Path) -> Path:
    """An empty environment with these requirements; roles that share a lock share it."""
    environment = scratch / f"venv-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]}"
    if not environment.exists():
        base = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([base, "-m", "venv", environment], check=True)
        pip = [str(environment / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "--requirement", str(requirements)], check=True)
    return environment


def seconds_to_healthy(folder: Path, entry_point: str, environment: Path) -> float:
    port = free_port()
    log = folder.with_suffix(".log")
    server_command = str(environment / "bin/functions-framework")
    command = [server_command, f"--target={entry_point}", f"--port={port}", "--host=127.0.0.1"]
    minimal = {"PATH": os.defpath, "LANG": "C.UTF-8", "GOOGLE_CLOUD_PROJECT": "package-check"}
    started = time.monotonic()
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=minimal, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        while not healthy(port):
            if server.poll() is not None or time.monotonic() - started > START_SECONDS:
                raise RuntimeError(f"{folder.name} does not answer /healthz with 200; it said:\n{log.read_text()}")
            time.sleep(0.02)
        return time.monotonic() - started
    finally:
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server and its workers; one that is asked while it still starts may not hear it."""
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - the number is the contract
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
