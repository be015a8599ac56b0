"""Documents in one SQLite file, written with every commit and read at the start; and all documents as bytes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.message import DecodeError

from emulator.events import log_event
from emulator.firestore.documents import Commit, Stored
from emulator.firestore.names import parse_document
from emulator.firestore.protocol import Document, ListDocumentsResponse, Message
from emulator.firestore.values import micros
from emulator.refusals import Refusal


class Storage:
    """One file. Only the server's thread writes to it."""

    def __init__(self, file: Path) -> None:
        """Open the file, made if it is not there."""
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._unwritten: dict[str, Stored | None] = {}
        with contextlib.ExitStack() as opened:
            opened.callback(self._connection.close)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")  # outlives this process, not a power cut
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, wire BLOB NOT NULL) WITHOUT ROWID"
            )
            opened.pop_all()  # it stays open only if it is ours

    def load(self) -> Iterator[bytes]:
        """All documents on the wire."""
        for (wire,) in self._connection.execute("SELECT wire FROM documents ORDER BY name"):
            yield wire

    def observe(self, commit: Commit) -> None:
        """Write what a commit changed, all or nothing; if that fails, with the next commit."""
        for change in commit.changes:
            self._unwritten[f"{commit.database}/documents/{change.path}"] = change.after
        self._write()

    def close(self) -> None:
        """Close the file."""
        if self._unwritten:
            self._write()
        self._connection.close()

    def _write(self) -> None:
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                for name, document in self._unwritten.items():
                    if document:
                        self._connection.execute("REPLACE INTO documents VALUES (?, ?)", (name, document.wire))
                    else:
                        self._connection.execute("DELETE FROM documents WHERE name = ?", (name,))
        except sqlite3.Error as error:  # a full disk, say
            log_event("storage.not_written", error=str(error))
        else:
            self._unwritten.clear()


def to_bytes(documents: Iterable[Stored]) -> bytes:
    """All these documents as one piece."""
    snapshot = ListDocumentsResponse()
    for document in documents:
        snapshot.documents.add().ParseFromString(document.wire)
    wire: bytes = snapshot.SerializeToString()
    return wire


def from_bytes(snapshot: bytes) -> list[tuple[str, Stored]]:
    """The documents that :func:`to_bytes` put together, with their databases. Raises ValueError when it did not."""
    try:
        return [stored_from(each.SerializeToString()) for each in ListDocumentsResponse.FromString(snapshot).documents]
    except (DecodeError, Refusal) as error:
        raise ValueError(f"this is no snapshot of a Firestore server: {error}") from error


def stored_from(wire: bytes) -> tuple[str, Stored]:
    """The database and the stored form of a document on the wire."""
    document: Message = Document.FromString(wire)
    name = parse_document(document.name)
    created, updated = micros(document.create_time), micros(document.update_time)
    times = Document(create_time=document.create_time, update_time=document.update_time)
    document.ClearField("create_time")
    document.ClearField("update_time")
    body = document.SerializeToString(deterministic=True)
    return name.database, Stored(name.path, created, updated, body + times.SerializeToString(), len(body))
