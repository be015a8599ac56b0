"""The relay beside a bare one in memory: how long from publishing to receiving, and how many deliveries a second.

Ours stores every message and tells all instances of it; the other is `peers/relay.py`, FastAPI and sse-starlette, with
a list of queues. Both run on this machine in turn, with the same subscribers (`relay_readers.py`). Ours may take one
commit and one publish longer: how long these take bare is measured in the same run.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
import uuid
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import IO, Final

from benchmarks.as_installed import ROOT
from benchmarks.report import Verdict
from emulator.stack import LocalStack, StackOptions

PEER_PACKAGES: Final = ("fastapi==0.165.0", "sse-starlette==3.7.0", "uvicorn==0.54.0")
_PEER: Final = ROOT / "benchmarks" / "peers" / "relay.py"
_ENVIRONMENT: Final = ROOT / ".cache" / "benchmarks" / "relay-peer"
_ROLE: Final = "relay"
_FREED_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Load:
    """Subscribers, messages, publishers, and seconds between two messages of one."""

    subscribers: int
    messages: int
    publishers: int = 1
    gap_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often."""

    rounds: int
    latency: tuple[Load, ...]
    throughput: Load


FULL: Final = Plan(5, (Load(1, 200, 1, 0.01), Load(100, 100, 1, 0.05), Load(500, 60, 1, 0.1)), Load(500, 400, 8))
QUICK: Final = Plan(1, (Load(1, 50, 1, 0.01), Load(100, 30, 1, 0.05), Load(500, 20, 1, 0.1)), Load(500, 160, 8))


@dataclass(frozen=True)
class Server:
    """Where a relay listens."""

    host: str
    port: int
    authorization: str


@dataclass(frozen=True)
class Measured:
    """Of one load."""

    p50_ms: float
    deliveries_s: float


def measure(plan: Plan) -> list[Verdict]:
    """Run both in turn; return a verdict for each load."""
    with _ours() as (ours, stack), _peer() as peer:
        rounds = [_round(plan, ours, peer) for _ in range(plan.rounds)]
        allowed = _commit_and_publish_ms(stack)
    verdicts = [_latency(load, [each[index] for each in rounds], allowed) for index, load in enumerate(plan.latency)]
    return [*verdicts, _throughput([each[-1] for each in rounds])]


def _round(plan: Plan, ours: Server, peer: Server) -> list[tuple[Measured, Measured]]:
    return [(run(ours, load), run(peer, load)) for load in (*plan.latency, plan.throughput)]


def _latency(load: Load, pairs: Sequence[tuple[Measured, Measured]], allowed_ms: float) -> Verdict:
    """Judge how much longer ours takes, counted in commits and publishes: at most one."""
    longer = [(ours.p50_ms - peer.p50_ms) / allowed_ms for ours, peer in pairs]
    return Verdict(
        name=f"p50 at {load.subscribers}",
        ours=round(median(ours.p50_ms for ours, _ in pairs), 2),
        floor=round(median(peer.p50_ms for _, peer in pairs), 2),
        unit="ms",
        ratio=round(median(longer), 2),
        spread=(round(min(longer), 2), round(max(longer), 2)),
        rounds=len(pairs),
        goal=1.0,
        at_most=True,
    )


def _throughput(pairs: Sequence[tuple[Measured, Measured]]) -> Verdict:
    rates = [ours.deliveries_s for ours, _ in pairs]
    return Verdict(
        name="deliveries at 500",
        ours=round(median(rates)),
        floor=round(median(peer.deliveries_s for _, peer in pairs)),
        unit="/s",
        ratio=round(median(rates) / 18_000, 2),
        spread=(round(min(rates) / 18_000, 2), round(max(rates) / 18_000, 2)),
        rounds=len(pairs),
        goal=1.0,
        at_most=False,
    )


def run(server: Server, load: Load) -> Measured:
    """Subscribe, publish, and wait until every subscriber has everything."""
    topic = f"bench{uuid.uuid4().hex}"
    arguments = (server.host, str(server.port), f"/subscribe?topic={topic}", server.authorization)
    command = [sys.executable, "-m", "benchmarks.relay_readers", *arguments]
    command += [str(load.subscribers), str(load.messages)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as readers:
        output = _output(readers)
        assert output.readline() == "ready\n", "the subscribers did not come in"
        began = time.monotonic_ns()
        each = load.messages // load.publishers
        threads = [
            threading.Thread(target=_publish, args=(server, topic, each, load.gap_s)) for _ in range(load.publishers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        result = json.loads(output.readline())
    seconds = (result["ended_ns"] - began) / 1e9
    time.sleep(_FREED_SECONDS)  # the next subscribers find no trace of these
    return Measured(result["p50_ms"], load.subscribers * load.messages / seconds)


def _output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def _publish(server: Server, topic: str, count: int, gap_s: float) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    headers = {"Authorization": server.authorization, "Content-Type": "application/json"}
    for _ in range(count):
        body = json.dumps({"topic": topic, "payload": {"t": time.monotonic_ns()}})
        connection.request("POST", "/publish", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == http.HTTPStatus.OK, text
        time.sleep(gap_s)
    connection.close()


@contextmanager
def _ours() -> Iterator[tuple[Server, LocalStack]]:
    with TemporaryDirectory() as place:
        options = StackOptions(state_dir=Path(place) / ".mesh", only=(_ROLE,))
        with LocalStack(options) as stack:
            function = stack.functions[_ROLE]
            yield Server("127.0.0.1", function.port, f"Bearer {stack.token(function.url)}"), stack


@contextmanager
def _peer() -> Iterator[Server]:
    port = _free_port()
    with subprocess.Popen([str(_peer_python()), str(_PEER), str(port)]) as process:
        try:
            _wait_until_open(port)
            yield Server("127.0.0.1", port, "none")
        finally:
            process.terminate()


def _peer_python() -> Path:
    """Return the Python of the other relay's environment, which is made at the first run."""
    python = _ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(_ENVIRONMENT, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True)
    return python


def _free_port() -> int:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _wait_until_open(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/openapi.json")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.1)
        else:
            return
        finally:
            connection.close()
    raise TimeoutError("the other relay does not answer")


def _commit_and_publish_ms(stack: LocalStack) -> float:
    """Return the median of one commit of one document and one publish of one message, with Google's clients."""
    os.environ["FIRESTORE_EMULATOR_HOST"], os.environ["PUBSUB_EMULATOR_HOST"] = stack.firestore, stack.pubsub
    from agent_mesh.platform.firestore import FirestoreClient
    from agent_mesh.platform.pubsub import Message, PubsubPublisher

    database, publisher = FirestoreClient(stack.project), PubsubPublisher()
    taken: list[float] = []
    for _ in range(200):
        began = time.perf_counter()
        batch = database.batch()
        batch.create(database.collection("relay_messages").document(), {"payload": "{}"})
        batch.commit()
        publisher.publish(f"projects/{stack.project}/topics/relay", [Message(b"{}")])
        taken.append((time.perf_counter() - began) * 1000)
    return median(taken)
