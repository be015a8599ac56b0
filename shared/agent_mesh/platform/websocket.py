"""The server's end of one WebSocket (RFC 6455), on the socket of a thread of gunicorn or Werkzeug.

One thread writes and reads. simple-websocket, which would be the library for this, starts a second thread that writes
pongs between the bytes of the first one's messages, and takes what `send` did not write for written. The protocol
itself is wsproto's.
"""

from __future__ import annotations

import socket
from typing import Final

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from agent_mesh.contracts.problems import MalformedRequest
from agent_mesh.platform.client_socket import Environ, socket_of

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
UNSUPPORTED: Final = 1003
TRY_AGAIN_LATER: Final = 1013
"""Close codes: RFC 6455 section 7.4.1, and https://www.iana.org/assignments/websocket."""

_READ_BYTES: Final = 16 * 1024
_HTTP_HEADER: Final = "HTTP_"


class WebSocket:
    """An accepted WebSocket that the client may close and ping, and on which it may say nothing else."""

    def __init__(self, environ: Environ) -> None:
        """Accept the upgrade; raise `MalformedRequest` for one that is none. Compression is not offered."""
        connected = socket_of(environ)
        if connected is None:
            raise MalformedRequest("This server has no WebSocket.")
        self.socket: Final = connected
        self._protocol = WSConnection(ConnectionType.SERVER)
        try:
            self._protocol.initiate_upgrade_connection(_headers(environ), environ.get("PATH_INFO", "/"))
            asked = next(iter(self._protocol.events()))
        except (RemoteProtocolError, StopIteration) as error:
            raise MalformedRequest("The request is no WebSocket handshake (RFC 6455 section 4.2.1).") from error
        if not isinstance(asked, Request):
            raise MalformedRequest("The request is no WebSocket handshake (RFC 6455 section 4.2.1).")
        self.socket.sendall(self._protocol.send(AcceptConnection()))

    @property
    def open(self) -> bool:
        """Tell whether messages can still be sent."""
        return self._protocol.state is ConnectionState.OPEN

    def send(self, text: str) -> None:
        """Send a message of text; raise `OSError` when the client has gone."""
        self.socket.sendall(self._protocol.send(TextMessage(text)))

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.socket.sendall(self._protocol.send(Ping()))

    def close(self, code: int, reason: str) -> None:
        """Say that this is the end; once more changes nothing."""
        try:
            self.socket.sendall(self._protocol.send(CloseConnection(code, reason)))
        except (OSError, LocalProtocolError):  # it has gone, or closed before
            return

    def heard(self) -> bool:
        """Read what has come, without waiting, and answer it; return whether the client has shown life.

        A client that has gone, breaks the protocol or sends messages finds the WebSocket closed.
        """
        alive = False
        while self.open:
            try:
                received = self.socket.recv(_READ_BYTES, socket.MSG_DONTWAIT)
                self._protocol.receive_data(received or None)
                alive = alive or bool(received)
                self._answer()
            except BlockingIOError:
                return alive
            except RemoteProtocolError as error:
                self.close(error.event_hint.code if isinstance(error.event_hint, CloseConnection) else 1002, "")
                return alive
            if not received:
                return alive
        return alive

    def _answer(self) -> None:
        for event in self._protocol.events():
            if isinstance(event, (Ping, CloseConnection)) and self._protocol.state is not ConnectionState.CLOSED:
                self.socket.sendall(self._protocol.send(event.response()))
            elif isinstance(event, (TextMessage, BytesMessage)):
                self.close(UNSUPPORTED, "this stream takes no messages")
                return
            elif isinstance(event, Pong):
                continue


def _headers(environ: Environ) -> list[tuple[bytes, bytes]]:
    return [
        (name.removeprefix(_HTTP_HEADER).replace("_", "-").encode(), str(value).encode("latin-1"))
        for name, value in environ.items()
        if name.startswith(_HTTP_HEADER)
    ]
