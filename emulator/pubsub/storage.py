"""Everything a server knows as rows of one SQLite file: for restarts, and in memory for snapshots.

What is leased when it is written is delivered again after it is read: at least once, as always.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from emulator.pubsub import protos
from emulator.pubsub.backlog import Entry, State
from emulator.pubsub.broker import Broker
from emulator.pubsub.messages import Published
from emulator.pubsub.protos import Proto
from emulator.pubsub.snapshots import Snapshot

_VERSION: Final = 1
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS resources (kind TEXT, name TEXT, body BLOB, PRIMARY KEY (kind, name)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, time REAL, body BLOB)",
    f"PRAGMA user_version = {_VERSION}",
)

_Key = tuple[str, str]


class Storage:
    """One SQLite file; writes only what changed since the last write."""

    def __init__(self, file: Path | None) -> None:
        """Open or create it; None keeps it in memory. Raises ValueError for one of another version."""
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(file or ":memory:", isolation_level=None, check_same_thread=False)
        with contextlib.ExitStack() as opened:
            opened.callback(self._file.close)
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._check_version()
            for statement in _TABLES:
                self._file.execute(statement)
            opened.pop_all()  # it stays open only if it is ours
        self._resources: dict[_Key, bytes] = {}
        self._numbers: set[int] = set()

    def write(self, broker: Broker) -> None:
        """Make the file say what the broker knows, in one transaction."""
        resources = dict(_resources(broker))
        messages = _messages(broker)
        changed = [(*key, body) for key, body in resources.items() if self._resources.get(key) != body]
        gone = [key for key in self._resources if key not in resources]
        fresh = [message for number, message in messages.items() if number not in self._numbers]
        spent = [(number,) for number in self._numbers.difference(messages)]
        if not (changed or gone or fresh or spent):
            return
        rows = [(one.number, one.time, one.wire.SerializeToString()) for one in fresh]
        with self._transaction() as file:
            file.executemany("INSERT OR REPLACE INTO resources VALUES (?, ?, ?)", changed)
            file.executemany("DELETE FROM resources WHERE kind = ? AND name = ?", gone)
            file.executemany("INSERT OR REPLACE INTO messages VALUES (?, ?, ?)", rows)
            file.executemany("DELETE FROM messages WHERE number = ?", spent)
        self._resources, self._numbers = resources, set(messages)

    def read_into(self, broker: Broker) -> None:
        """Fill an empty broker with what the file says."""
        found = self._file.execute("SELECT kind, name, body FROM resources ORDER BY kind, name")
        self._resources = {(kind, name): body for kind, name, body in found}
        messages = {
            number: _published(number, time, body)
            for number, time, body in self._file.execute("SELECT number, time, body FROM messages ORDER BY number")
        }
        self._numbers = set(messages)
        _Reader(broker, self._resources, messages).read()

    def serialize(self) -> bytes:
        """The whole file as bytes."""
        return self._file.serialize()

    def deserialize(self, whole: bytes) -> None:
        """Take such bytes. Raises ValueError when they are none."""
        try:
            self._file.deserialize(whole)
            self._file.execute("SELECT count(*) FROM resources, messages")
        except (sqlite3.DatabaseError, MemoryError) as error:  # MemoryError: SQLite's answer to no bytes at all
            raise ValueError(f"this is no snapshot of a Pub/Sub server: {error}") from error
        self._check_version()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _check_version(self) -> None:
        (found,) = self._file.execute("PRAGMA user_version").fetchone()
        if found not in {0, _VERSION}:
            raise ValueError(f"what is stored has version {found}, and this server reads {_VERSION}: move it away")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._file.execute("BEGIN")
        try:
            yield self._file
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")


def dump(broker: Broker) -> bytes:
    """Everything a broker knows."""
    storage = Storage(None)
    storage.write(broker)
    try:
        return storage.serialize()
    finally:
        storage.close()


def load(broker: Broker, whole: bytes) -> None:
    """Make a broker know this and nothing else. Its counters start again."""
    storage = Storage(None)
    try:
        storage.deserialize(whole)
        broker.clear()
        storage.read_into(broker)
    finally:
        storage.close()


def _resources(broker: Broker) -> Iterator[tuple[_Key, bytes]]:
    yield ("server", ""), _json({"nextNumber": broker.next_number})
    for name, topic in broker.topics.items():
        yield ("topic", name), topic.config.SerializeToString(deterministic=True)
        yield ("log", name), _json([message.number for message in topic.log])
    for name, subscription in broker.subscriptions.items():
        yield ("subscription", name), subscription.config.SerializeToString(deterministic=True)
        entries = subscription.backlog.entries.values()
        kept = [[entry.message.number, entry.deliveries, entry.state is State.ACKED] for entry in entries]
        yield ("backlog", name), _json({"lastUsed": round(subscription.last_used), "entries": kept})
    for name, snapshot in broker.snapshots.items():
        yield ("snapshot", name), snapshot.config.SerializeToString(deterministic=True)
        yield ("held", name), _json([message.number for message in snapshot.messages])
    for name, revisions in broker.schemas.kept.items():
        for place, schema in enumerate(revisions):
            yield ("schema", f"{name}@{place:04}"), schema.SerializeToString(deterministic=True)
    for name, policy in broker.policies.items():
        yield ("policy", name), policy.SerializeToString(deterministic=True)


def _messages(broker: Broker) -> dict[int, Published]:
    known: dict[int, Published] = {}
    for subscription in broker.subscriptions.values():
        known |= {number: entry.message for number, entry in subscription.backlog.entries.items()}
    for topic in broker.topics.values():
        known |= {message.number: message for message in topic.log}
    for snapshot in broker.snapshots.values():
        known |= {message.number: message for message in snapshot.messages}
    return known


def _published(number: int, time: float, body: bytes) -> Published:
    wire: Proto = protos.PubsubMessage.FromString(body)
    return Published.of(number, wire, time)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _Reader:
    def __init__(self, broker: Broker, resources: dict[_Key, bytes], messages: dict[int, Published]) -> None:
        self._broker = broker
        self._resources = resources
        self._messages = messages

    def read(self) -> None:
        broker = self._broker
        server = json.loads(self._resources.get(("server", ""), b"{}"))
        broker.next_number = max(broker.next_number, server.get("nextNumber", 1))
        for name, body in self._of("topic"):
            broker.add_topic(protos.Topic.FromString(body)).log.extend(self._known("log", name))
        for name, body in self._of("schema"):
            broker.schemas.kept.setdefault(name.partition("@")[0], []).append(protos.Schema.FromString(body))
        for name, body in self._of("subscription"):
            self._read_subscription(name, body)
        for name, body in self._of("snapshot"):
            config = protos.Snapshot.FromString(body)
            expires = protos.unix_seconds(config.expire_time)
            broker.add_snapshot(Snapshot(config, self._known("held", name), expires))
        self._read_policies()

    def _read_subscription(self, name: str, body: bytes) -> None:
        config = protos.Subscription.FromString(body)
        kept = json.loads(self._resources[("backlog", name)])
        subscription = self._broker.add_subscription(config)
        entries = [
            Entry(self._messages[number], _state(acked=acked), tries) for number, tries, acked in kept["entries"]
        ]
        subscription.last_used = kept["lastUsed"]
        subscription.backlog.resume(entries)
        subscription.wake()

    def _read_policies(self) -> None:
        from emulator.pubsub.service_iam import Policy

        for name, body in self._of("policy"):
            self._broker.policies[name] = Policy.FromString(body)

    def _of(self, kind: str) -> Iterable[tuple[str, bytes]]:
        return [(name, body) for (found, name), body in self._resources.items() if found == kind]

    def _known(self, kind: str, name: str) -> list[Published]:
        return [self._messages[number] for number in json.loads(self._resources[kind, name])]


def _state(*, acked: bool) -> State:
    return State.ACKED if acked else State.WAITING
