"""The sockets of open streams, watched by one thread while there are any.

A server that writes to a thread's own socket learns that the reader has gone only when it next writes, and never that
the reader does not read: the write waits. So this thread ends streams whose reader has closed, cuts off a
connection on which a write hangs, and ends all of them when the process is told to stop.
"""

from __future__ import annotations

import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from agent_mesh.platform.logs import log

STUCK_SECONDS: Final = 20.0
"""How long one write may hang: the queue behind it is bounded and full long before on a busy topic."""

_ROUND_SECONDS: Final = 0.5
_THREAD_NAME: Final = "relay-connections"


@dataclass(eq=False)
class Connection:
    """One reader's socket. `readable` is called once, when something came from the reader or it has closed."""

    socket: socket.socket
    readable: Callable[[], object]
    writing_since: float | None = None
    """When the write that is under way began, in monotonic seconds; set by the thread that writes."""

    @property
    def closed_by_reader(self) -> bool:
        """Tell whether nothing will ever come from the reader any more."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


class Connections:
    """Watches connections. Threads may add and remove at any time."""

    def __init__(self, stopping: Callable[[], object], stuck_s: float = STUCK_SECONDS) -> None:
        """`stopping` is called once, when the process is told to stop."""
        self._stopping = stopping
        self._stuck_s = stuck_s
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._selector: selectors.BaseSelector | None = None

    def add(self, connection: Connection) -> None:
        """Watch a connection, until something comes from its reader."""
        with self._lock:
            self._open.add(connection)
            if self._selector is None:
                self._selector = selectors.DefaultSelector()
                threading.Thread(target=self._watch, args=[self._selector], name=_THREAD_NAME, daemon=True).start()
            self._listen(connection)

    def listen_again(self, connection: Connection) -> None:
        """Call `readable` once more when something comes."""
        with self._lock:
            if connection in self._open:
                self._listen(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection, before its socket is closed; once more changes nothing."""
        with self._lock:
            self._open.discard(connection)
            self._forget(connection)

    def _listen(self, connection: Connection) -> None:
        if self._selector:
            with suppress(KeyError, ValueError, OSError):  # it is watched already, or closed
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def _forget(self, connection: Connection) -> None:
        if self._selector:
            with suppress(KeyError, ValueError, OSError):
                self._selector.unregister(connection.socket)

    def _watch(self, selector: selectors.BaseSelector) -> None:
        told = False
        while self._any_open(selector):
            try:
                self._one_round(selector)
                if not told and server_is_stopping():
                    told = True
                    self._stopping()
            except Exception as error:  # noqa: BLE001 - every stream depends on this thread: it goes on
                log("defect while connections were watched", level=40, failed=True, kind=type(error).__name__)
                time.sleep(_ROUND_SECONDS)

    def _one_round(self, selector: selectors.BaseSelector) -> None:
        for key, _ in selector.select(_ROUND_SECONDS):
            with self._lock:
                self._forget(key.data)
            key.data.readable()
        self._cut_off_stuck()

    def _any_open(self, selector: selectors.BaseSelector) -> bool:
        with self._lock:
            if self._open:
                return True
            self._selector = None
        selector.close()
        return False

    def _cut_off_stuck(self) -> None:
        now = time.monotonic()
        with self._lock:
            stuck = [each for each in self._open if each.writing_since and now - each.writing_since > self._stuck_s]
        for connection in stuck:
            log("a reader that does not read is cut off")
            connection.writing_since = None
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)


def server_is_stopping() -> bool:
    """Tell whether gunicorn was told to stop: its worker, whose method handles SIGTERM, is `alive` no longer.

    No hook of the server can be reached from a function, and only the main thread may set another handler.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(worker, "alive", True) is False
