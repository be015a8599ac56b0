"""The server: in a background thread of this process, or the whole of a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import grpc

from emulator.control import control_handlers, perform
from emulator.delivery.push import Tokens
from emulator.errors import StartError
from emulator.events import log_event
from emulator.pubsub import dispatch
from emulator.pubsub.broker import Broker
from emulator.pubsub.clock import Clock
from emulator.pubsub.control import SERVICE, PubsubControl, acts
from emulator.pubsub.push import Post
from emulator.usage.attribution import Attributed

if TYPE_CHECKING:
    from emulator.pubsub.storage import Storage

_LARGEST_MESSAGE: Final = 64 * 1024 * 1024
_SAVE_SECONDS: Final = 0.5
_START_SECONDS: Final = 10.0
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class PubsubOptions:
    """``mint(audience, email)`` makes the tokens of pushes; ``storage`` keeps everything in one SQLite file.

    ``held`` begins without pushing, until :meth:`PubsubServer.release_pushes`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    mint: Tokens | None = None
    storage: Path | None = None
    held: bool = False
    grace: float = 0.2


class PubsubServer(PubsubControl):
    """Pub/Sub on this machine, between :meth:`start` and :meth:`stop`; safe to control from any thread."""

    def __init__(self, options: PubsubOptions | None = None) -> None:
        """Nothing runs yet."""
        self._options = options or PubsubOptions()
        self._post = Post(self._options.mint, log_event, held=self._options.held)
        self._broker = Broker(Clock(), self._post)
        self._acts = acts(self._broker)
        self._thread = threading.Thread(target=self._run, name="pubsub", daemon=True)
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._port = 0

    @property
    def address(self) -> str:
        """The value of PUBSUB_EMULATOR_HOST, once started."""
        return f"{self._options.host}:{self._port}"

    def start(self) -> None:
        """Serve from a background thread; returns when calls are answered. Raises StartError."""
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise StartError(f"Pub/Sub did not start within {_START_SECONDS:.0f} s")
        if self._failure is not None:
            raise StartError(f"Pub/Sub cannot start on {self._options.host}:{self._options.port}: {self._failure}")

    def stop(self) -> None:
        """End open calls after a short grace, save, and stop; twice does nothing."""
        if self._thread.is_alive() and self._failure is None:
            self._ask_to_stop()
            self._thread.join()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop."""
        self.stop()

    def act(self, name: str, /, **arguments: object) -> Any:  # noqa: ANN401  # JSON
        """Do any act by its name, on the server's loop, where the state lives."""
        work = perform(self._acts, name, arguments)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    @property
    def clock(self) -> Clock:
        """The clock, to be read; :meth:`advance` moves it."""
        return self._broker.clock

    @property
    def broker(self) -> Broker:
        """The state, for a console in the same process. Touch it only through :meth:`call`."""
        return self._broker

    def call(self, action: Callable[[], _Answer]) -> _Answer:
        """Run an action on the server's loop and return its answer."""

        async def act() -> _Answer:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(_START_SECONDS)

    def run(self, started: Callable[[str], None], stopping: Callable[[Callable[[], None]], None]) -> None:
        """Serve from this thread; ``stopping`` is given what stops it."""
        stopping(self._ask_to_stop)
        self._run(lambda: started(self.address))
        if self._failure is not None:
            raise StartError(f"Pub/Sub cannot start on {self._options.host}:{self._options.port}: {self._failure}")

    def _run(self, started: Callable[[], None] = lambda: None) -> None:
        asyncio.run(self._serve(started))

    def _ask_to_stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve(self, started: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            storage = _opened(self._options.storage) if self._options.storage else None
            server = await self._listen()
            if storage is not None:
                storage.read_into(self._broker)
            self._broker.start()
            await server.start()
        except Exception as error:  # noqa: BLE001  told to whoever started it
            self._failure = error
            self._ready.set()
            return
        self._ready.set()
        started()
        saving = asyncio.ensure_future(self._save_often(storage)) if storage else None
        await self._stopping.wait()
        await self._end(server, saving, storage)

    async def _listen(self) -> grpc.aio.Server:
        sizes = [(f"grpc.max_{way}_message_length", _LARGEST_MESSAGE) for way in ("send", "receive")]
        keepalive = [
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 1000),
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.so_reuseport", 0),
        ]
        server = grpc.aio.server(options=[*sizes, *keepalive])
        controls = control_handlers(SERVICE, self._acts)
        server.add_generic_rpc_handlers([Attributed(dispatch.Services(self._broker)), controls])
        self._port = server.add_insecure_port(f"{self._options.host}:{self._options.port}")
        return server

    async def _save_often(self, storage: Storage) -> None:
        import sqlite3

        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            try:
                storage.write(self._broker)
            except sqlite3.Error as error:  # a full disk, say: the next time may go well
                log_event("storage.not_written", error=str(error))

    async def _end(self, server: grpc.aio.Server, saving: asyncio.Future[None] | None, storage: Storage | None) -> None:
        await server.stop(self._options.grace)
        if saving is not None:
            saving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await saving
        if storage is not None:
            storage.write(self._broker)
            storage.close()
        self._post.close()


def _opened(file: Path) -> Storage:
    from emulator.pubsub.storage import Storage

    return Storage(file)
