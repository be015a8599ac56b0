"""The embedded Pub/Sub beside Google's emulator, in one run: start-up, memory, p50 and throughput.

Run it with ``python -m benchmarks.emulators_pubsub [--quick]``. Rounds alternate between the two, so
that whatever else the machine does hits both; each figure is the median of its rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from google.pubsub_v1.types import pubsub

from benchmarks.as_installed import STARTS, environment
from emulator.official import PUBSUB, command_line

THREADS: Final = 16
_START_SECONDS: Final = 30.0
_PAYLOAD: Final = b"x" * 200
_CHANNEL: Final = [("grpc.use_local_subchannel_pool", 1)]


class Wire:
    """The calls that are measured, without a client library."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=_CHANNEL)
        self.create_topic = self._call("Publisher/CreateTopic", pubsub.Topic)
        self.create_subscription = self._call("Subscriber/CreateSubscription", pubsub.Subscription)
        self.publish = self._call("Publisher/Publish", pubsub.PublishResponse)
        self.pull = self._call("Subscriber/Pull", pubsub.PullResponse)
        self.acknowledge = self._call("Subscriber/Acknowledge", pubsub.PublishResponse)

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: str, answer: Any) -> Any:  # noqa: ANN401  protobuf classes are made at run time
        return self._channel.unary_unary(
            f"/google.pubsub.v1.{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.pb().FromString,
        )


@dataclass
class Server:
    """One of the two, running."""

    name: str
    command: Callable[[int], tuple[str, ...]]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    address: str = ""
    figures: dict[str, list[float]] = field(default_factory=dict)

    def note(self, figure: str, value: float) -> None:
        self.figures.setdefault(figure, []).append(value)

    def start(self) -> None:
        port = _free_port()
        self.address = f"127.0.0.1:{port}"
        begun = time.perf_counter()
        quiet = subprocess.DEVNULL
        command = self.command(port)
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=quiet, stderr=quiet, start_new_session=True
        )
        self._first_answer(begun)
        self.note("start-up ms", (time.perf_counter() - begun) * 1000)

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait()

    def resident(self) -> float:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def _first_answer(self, begun: float) -> None:
        while time.perf_counter() - begun < _START_SECONDS:
            wire = Wire(self.address)
            try:
                wire.create_topic(pubsub.Topic.pb()(name="projects/start/topics/first"), timeout=5)
            except grpc.RpcError:
                time.sleep(0.01)
            else:
                return
            finally:
                wire.close()
        raise SystemExit(f"{self.name} did not start within {_START_SECONDS:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Place:
    """A topic with a subscription on one server."""

    server: Server
    wire: Wire
    endpoint: str = ""

    def __post_init__(self) -> None:
        unique = secrets.token_hex(4)
        self.topic = f"projects/bench/topics/t{unique}"
        self.subscription = f"projects/bench/subscriptions/s{unique}"
        self.wire.create_topic(pubsub.Topic.pb()(name=self.topic))
        wanted = pubsub.Subscription.pb()(name=self.subscription, topic=self.topic, ack_deadline_seconds=60)
        if self.endpoint:
            wanted.push_config.push_endpoint = self.endpoint
        self.wire.create_subscription(wanted)

    def publish(self, count: int = 1) -> None:
        now = str(time.perf_counter())
        messages = [pubsub.PubsubMessage.pb()(data=_PAYLOAD, attributes={"t": now})] * count
        self.wire.publish(pubsub.PublishRequest.pb()(topic=self.topic, messages=messages))

    def pull_and_ack(self, most: int = 1) -> int:
        asked = pubsub.PullRequest.pb()(subscription=self.subscription, max_messages=most)
        ids = [one.ack_id for one in self.wire.pull(asked, timeout=10).received_messages]
        if ids:
            self.wire.acknowledge(pubsub.AcknowledgeRequest.pb()(subscription=self.subscription, ack_ids=ids))
        return len(ids)


def p50(calls: int, call: Callable[[], object]) -> float:
    """Median milliseconds of one call, one thread."""
    taken = []
    for _ in range(calls):
        begun = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def rate(calls: int, call: Callable[[], object]) -> float:
    """Calls per second of 16 threads."""
    with ThreadPoolExecutor(THREADS) as threads:
        begun = time.perf_counter()
        for done in [threads.submit(call) for _ in range(calls)]:
            done.result()
        return calls / (time.perf_counter() - begun)


def hand_over(place: Place, rounds: int) -> float:
    """Median milliseconds from a publish to the answer of a pull that already waits."""
    taken: list[float] = []
    for _ in range(rounds):
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(_timed_pull, place)
            time.sleep(0.02)
            begun = time.perf_counter()
            place.publish()
            taken.append((waiting.result() - begun) * 1000)
    return statistics.median(taken)


def _timed_pull(place: Place) -> float:
    asked = pubsub.PullRequest.pb()(subscription=place.subscription, max_messages=1)
    answer = place.wire.pull(asked, timeout=10)
    ended = time.perf_counter()
    ids = [one.ack_id for one in answer.received_messages]
    place.wire.acknowledge(pubsub.AcknowledgeRequest.pb()(subscription=place.subscription, ack_ids=ids))
    return ended


class Endpoint:
    """A push endpoint on an event loop of its own: it costs the two servers as little as can be."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True).start()
        started.wait()

    def _run(self, started: threading.Event) -> None:
        async def serve() -> None:
            server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/push"
            started.set()
            await server.serve_forever()

        self._loop.run_until_complete(serve())

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            message = json.loads(await reader.readexactly(length))["message"]
            assert base64.b64decode(message["data"]) == _PAYLOAD
            self.delays.append(time.perf_counter() - float(message["attributes"]["t"]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def wait_for(self, count: int) -> None:
        deadline = time.perf_counter() + 60
        while len(self.delays) < count and time.perf_counter() < deadline:
            time.sleep(0.002)
        assert len(self.delays) >= count, f"only {len(self.delays)} of {count} pushes arrived"


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def measure(server: Server, calls: int) -> None:
    """One round on one server."""
    wire = Wire(server.address)
    place = Place(server, wire)
    server.note("publish p50 ms", p50(calls // 4, place.publish))
    server.note("pull and ack p50 ms", p50(calls // 4, place.pull_and_ack))
    server.note("publish to waiting pull p50 ms", hand_over(place, 20))
    server.note("publish /s, 16 threads", rate(calls, place.publish))
    server.note("pull and ack /s, 16 threads", rate(calls, place.pull_and_ack))
    measure_push(server, wire, calls)
    server.note("memory MB", server.resident())
    wire.close()


def measure_push(server: Server, wire: Wire, calls: int) -> None:
    """Publish to push: spaced for the delay, all at once for the rate."""
    endpoint = Endpoint()
    place = Place(server, wire, endpoint.url)
    for sent in range(1, 51):
        place.publish()
        endpoint.wait_for(sent)
    server.note("publish to push p50 ms", statistics.median(endpoint.delays) * 1000)
    endpoint.delays.clear()
    begun = time.perf_counter()
    for _ in range(calls // 100):
        place.publish(100)
    endpoint.wait_for(calls // 100 * 100)
    server.note("push /s", calls // 100 * 100 / (time.perf_counter() - begun))


@contextmanager
def running() -> Iterator[list[Server]]:
    """Both servers."""
    with tempfile.TemporaryDirectory() as place:
        ours = environment(Path(place))
        embedded = Server("embedded", lambda port: (sys.executable, "-m", "emulator.pubsub", "--port", str(port)), ours)
        official = Server("official", lambda port: command_line(PUBSUB, port, Path(place)), ours)
        servers = [embedded, official]
        try:
            for number in range(STARTS + 1):
                for server in servers:
                    server.stop()
                    if number == 1:
                        server.figures.clear()
                    server.start()
            yield servers
        finally:
            for server in servers:
                server.stop()


def report(servers: list[Server]) -> str:
    """The table, with the ratio of the two."""
    lines = [f"{'':34}{'embedded':>12}{'official':>12}{'ratio':>9}"]
    for figure in servers[0].figures:
        ours, theirs = (statistics.median(server.figures[figure]) for server in servers)
        lines.append(f"{figure:34}{ours:>12.2f}{theirs:>12.2f}{ours / theirs:>9.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    quick = parser.parse_args().quick
    rounds, calls = (1, 400) if quick else (5, 2000)
    with running() as servers:
        for server in servers:
            server.note("memory at start MB", server.resident())
            measure(server, 200)
            server.figures = {name: values for name, values in server.figures.items() if "start" in name}
        for turn in range(rounds):
            for server in servers if turn % 2 else reversed(servers):
                measure(server, calls)
        print(report(servers))


if __name__ == "__main__":
    main()
