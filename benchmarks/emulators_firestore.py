"""The embedded Firestore beside the official emulator, in one run: start-up, memory, latency and throughput.

``python -m benchmarks.emulators_firestore [--seconds 1] [--rounds 5] [--only embedded]``. Both run as processes of
their own and are used through the unmodified Python client, by one thread and by sixteen.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from google.cloud import firestore

from benchmarks.as_installed import ROOT, STARTS, environment
from emulator.firestore import protocol
from emulator.official import FIRESTORE, command_line

THREADS: Final = 16
DOCUMENTS: Final = 100
Operation = Callable[[], object]


@dataclass(frozen=True)
class Figures:
    """What was measured of one server."""

    start_ms: float
    fresh_mb: float
    used_mb: float
    p50_ms: dict[str, float]
    per_second: dict[str, float]


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(server: str, port: int, place: Path) -> tuple[str, ...]:
    """Return how a server is started."""
    if server == "embedded":
        return (sys.executable, "-m", "emulator.firestore", "--port", str(port))
    return command_line(FIRESTORE, port, place)


@contextmanager
def started(server: str, bytecode: Path) -> Iterator[tuple[int, int, float]]:
    """Start a server; give its port, process id and the milliseconds until its first answer."""
    with tempfile.TemporaryDirectory() as place:
        port = free_port()
        began = time.perf_counter()
        with subprocess.Popen(
            command(server, port, Path(place)),
            env=environment(bytecode),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                first_answer(port)
                yield port, process.pid, (time.perf_counter() - began) * 1000
            finally:
                os.killpg(process.pid, signal.SIGKILL)


def start_ms(server: str, bytecode: Path) -> float:
    """Start a server and stop it; return the milliseconds until its first answer."""
    with started(server, bytecode) as (_, _, taken):
        return taken


def first_answer(port: int) -> None:
    """Wait until the server has answered one call."""
    request = protocol.BeginTransactionRequest(database="projects/p/databases/(default)").SerializeToString()
    deadline = time.monotonic() + 60
    while True:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                channel.unary_unary("/google.firestore.v1.Firestore/BeginTransaction")(
                    request, timeout=5, metadata=(("authorization", "Bearer owner"),)
                )
            except grpc.RpcError:
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.005)
            else:
                return


def megabytes(pid: int) -> float:
    """Return the resident memory of a process and its children."""
    table = subprocess.run(["ps", "-eo", "pid,ppid,rss"], capture_output=True, text=True, check=True)  # noqa: S607
    rows = [tuple(map(int, line.split())) for line in table.stdout.splitlines()[1:]]
    family = {pid}
    for _ in range(4):
        family |= {child for child, parent, _ in rows if parent in family}
    return sum(rss for each, _, rss in rows if each in family) / 1024


def operations(port: int) -> dict[str, Operation]:
    """Return what is measured; each call is one operation."""
    os.environ["FIRESTORE_EMULATOR_HOST"] = f"127.0.0.1:{port}"
    client: Any = firestore.Client(project=f"bench-{secrets.token_hex(4)}")
    read, written = client.collection("read"), client.collection("written")
    batch = client.batch()
    for number in range(DOCUMENTS):
        batch.set(read.document(f"d{number}"), {"n": number, "text": "x" * 50, "at": firestore.SERVER_TIMESTAMP})
    batch.commit()

    @firestore.transactional
    def count(transaction: firestore.Transaction, reference: firestore.DocumentReference) -> None:
        found = reference.get(transaction=transaction)
        transaction.set(reference, {"n": (found.get("n") if found.exists else 0) + 1})

    return {
        "create": lambda: written.document(secrets.token_hex(8)).create({"n": 1, "text": "x" * 100}),
        "get": lambda: read.document(f"d{secrets.randbelow(DOCUMENTS)}").get(),
        "transaction": lambda: count(client.transaction(), written.document(secrets.token_hex(8))),
        f"query of {DOCUMENTS}": lambda: read.order_by("n").limit(DOCUMENTS).get(),
    }


def median_ms(operation: Operation, seconds: float) -> float:
    """Return the median time of an operation that one thread repeats."""
    times, until = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        operation()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def rate(operation: Operation, seconds: float) -> float:
    """Return how often all threads together do an operation in a second."""
    counts = [0] * THREADS
    until = time.perf_counter() + seconds

    def run(index: int) -> None:
        while time.perf_counter() < until:
            operation()
            counts[index] += 1

    threads = [threading.Thread(target=run, args=(index,)) for index in range(THREADS)]
    began = time.perf_counter()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sum(counts) / (time.perf_counter() - began)


def measured(servers: list[str], seconds: float, rounds: int) -> dict[str, Figures]:
    """Measure the servers in turns, so that what else the machine does meets all of them."""
    with ExitStack() as stack:
        bytecode = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        starts = [{server: start_ms(server, bytecode) for server in servers} for _ in range(STARTS + 1)][1:]
        running = {server: stack.enter_context(started(server, bytecode)) for server in servers}
        fresh = {server: megabytes(pid) for server, (_, pid, _) in running.items()}
        tables = {server: operations(port) for server, (port, _, _) in running.items()}
        for table in tables.values():
            for operation in table.values():
                rate(operation, seconds)  # warm up: the Java machine compiles what it sees often
        names = list(next(iter(tables.values())))
        p50: dict[str, dict[str, list[float]]] = {server: {name: [] for name in names} for server in servers}
        rates: dict[str, dict[str, list[float]]] = {server: {name: [] for name in names} for server in servers}
        for _ in range(rounds):
            for name in names:
                for server in servers:
                    p50[server][name].append(median_ms(tables[server][name], seconds))
                    rates[server][name].append(rate(tables[server][name], seconds))
        return {
            server: Figures(
                statistics.median(each[server] for each in starts),
                fresh[server],
                megabytes(pid),
                _medians(p50[server]),
                _medians(rates[server]),
            )
            for server, (_, pid, _) in running.items()
        }


def _medians(rounds: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in rounds.items()}


def main() -> None:
    """Measure both and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="of measurements; their median is shown")
    parser.add_argument("--only", choices=["embedded", "official"])
    given = parser.parse_args()
    servers = [given.only] if given.only else ["official", "embedded"]
    figures = measured(servers, given.seconds, given.rounds)
    rows = [
        ("start to first answer, ms", [each.start_ms for each in figures.values()]),
        ("memory after start, MB", [each.fresh_mb for each in figures.values()]),
        ("memory after use, MB", [each.used_mb for each in figures.values()]),
    ]
    names = next(iter(figures.values())).p50_ms
    rows += [(f"{name}, p50 ms, 1 thread", [each.p50_ms[name] for each in figures.values()]) for name in names]
    rows += [(f"{name}, /s, {THREADS} threads", [each.per_second[name] for each in figures.values()]) for name in names]
    print(f"{'':36}" + "".join(f"{server:>12}" for server in servers) + ("       ratio" if len(servers) > 1 else ""))
    for label, values in rows:
        ratio = f"{values[1] / values[0]:12.2f}" if len(values) > 1 else ""
        print(f"{label:36}" + "".join(f"{value:12.2f}" for value in values) + ratio)


if __name__ == "__main__":
    main()
