"""Makes the official Pub/Sub emulator push like Pub/Sub: a pump per subscription.

The emulator's own push sends no token, ignores filters, counts no attempts and treats 202 as a
failure. So the bridge pulls, and pushes itself. A message is acknowledged only after its
endpoint (or its dead-letter topic) has it: whatever the bridge dies of, nothing is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from emulator.delivery.push import Pusher, Tokens
from emulator.events import log_event
from emulator.provision import LEASE_SECONDS, leased_resources, provision
from emulator.pubsub_wire import CloudError, PubSubWire
from emulator.pump import Pump
from emulator.routes import Route
from emulator.topology import Topology

_EXTEND_SECONDS: Final = LEASE_SECONDS / 4
_LONGEST_SLEEP: Final = 0.5
_RETRY_SECONDS: Final = 0.2


class Bridge:
    """All pumps of one project, between :meth:`start` and :meth:`stop`."""

    def __init__(self, pubsub: str, used: Sequence[Route], tokens: Tokens | None) -> None:
        """``pubsub`` is the emulator's ``host:port``; without ``tokens`` no token is sent."""
        self._wire = PubSubWire(pubsub)
        self._pusher = Pusher(tokens)
        self._acks = AckBatches(self._wire)
        self._wake = threading.Event()
        self._pumps = [Pump(route, self._wire, self._pusher, self._acks.add) for route in used]
        for pump in self._pumps:
            pump.rescheduled = self._wake
        self._stopping = threading.Event()
        self._ticker = threading.Thread(target=self._tick_until_stopped, name="bridge-ticker", daemon=True)

    def create(self, topology: Topology, project: str, seconds: float = 60.0) -> None:
        """Create every topic and subscription, also those without a running target.

        Raises StartError when Pub/Sub cannot be reached within ``seconds``.
        """
        provision(self._wire, leased_resources(topology, project), seconds)

    def start(self) -> None:
        """Begin to deliver."""
        self._acks.start()
        for pump in self._pumps:
            pump.start()
        self._ticker.start()

    def stop(self, grace: float) -> None:
        """Stop pulling, give running pushes ``grace`` seconds, ack what is done, return the rest."""
        self._stopping.set()
        for pump in self._pumps:
            pump.stop_pulling()
        for pump in self._pumps:
            pump.wait_for_pull()
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and not all(pump.idle() for pump in self._pumps):
            time.sleep(0.01)
        self._acks.stop()
        for pump in self._pumps:
            pump.give_back()
        self._wire.close()
        self._pusher.close()

    def state(self) -> dict[str, dict[str, int]]:
        """Counts by subscription."""
        return {pump.route.name: pump.state() for pump in self._pumps}

    def _tick_until_stopped(self) -> None:
        extended = time.monotonic()
        while not self._stopping.is_set():
            self._wake.clear()
            due = [at for at in (pump.dispatch() for pump in self._pumps) if at is not None]
            now = time.monotonic()
            if now - extended >= _EXTEND_SECONDS:
                extended = now
                for pump in self._pumps:
                    pump.extend_leases()
            self._wake.wait(max(0.0, min([_LONGEST_SLEEP, *(at - now for at in due)])))


class AckBatches:
    """Acknowledges in the background: what came while one call ran goes with the next."""

    def __init__(self, wire: PubSubWire) -> None:
        """Idle until :meth:`start`."""
        self._wire = wire
        self._lock = threading.Lock()
        self._pending: dict[str, list[str]] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bridge-acks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add(self, subscription: str, ack_id: str) -> None:
        """Acknowledge this soon."""
        with self._lock:
            self._pending.setdefault(subscription, []).append(ack_id)
        self._wake.set()

    def stop(self) -> None:
        """Acknowledge what is pending, once, and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._flush()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            if not self._flush():
                self._stopping.wait(_RETRY_SECONDS)
                self._wake.set()

    def _flush(self) -> bool:
        with self._lock:
            pending, self._pending = self._pending, {}
        done = True
        for subscription, ack_ids in pending.items():
            try:
                self._wire.acknowledge(subscription, ack_ids)
            except CloudError as error:
                done = False
                log_event("ack.failed", subscription=subscription, error=str(error).partition("\n")[0])
                with self._lock:
                    self._pending.setdefault(subscription, []).extend(ack_ids)
        return done
