"""The server: in this process on a thread with its own event loop, and controlled from any other thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from typing import Any, Final, Self, TypeVar

import grpc.aio

from emulator.control import control_handlers, perform
from emulator.firestore.clock import Clock
from emulator.firestore.control import SERVICE, FirestoreControl, acts
from emulator.firestore.engine import Engine
from emulator.firestore.methods import handlers
from emulator.firestore.options import FirestoreOptions
from emulator.firestore.requests import LARGEST_REQUEST
from emulator.firestore.ttl import sweep

_GRACE_SECONDS: Final = 0.2
_ROOM: Final = 1024 * 1024
"""Requests a little too large still arrive, so that they can be refused by name."""
_KEEPALIVE: Final = (
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
)
"""Mobile clients ping a silent Listen stream every 30 seconds; gRPC's default hangs up on them for that."""

_T = TypeVar("_T")


@contextlib.asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[int]:
    """Listen and sweep until the end of the block; gives the port. Raises RuntimeError when the port is taken."""
    options = engine.options
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", LARGEST_REQUEST + _ROOM),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            *_KEEPALIVE,
        ]
    )
    server.add_generic_rpc_handlers((handlers(engine), control_handlers(SERVICE, acts(engine))))
    port = server.add_insecure_port(f"{options.host}:{options.port}")
    await server.start()
    sweeping = asyncio.create_task(_sweep(engine)) if engine.declared.ttl else None
    try:
        yield port
    finally:
        if sweeping:
            sweeping.cancel()
        await server.stop(_GRACE_SECONDS)
        await _ended(asyncio.all_tasks() - {asyncio.current_task()})
        engine.close()


async def _ended(calls: set[asyncio.Task[Any]]) -> None:
    """Let cancelled calls clean up: gRPC stops without waiting for that, and Python would report each on stderr."""
    if calls:
        await asyncio.wait(calls, timeout=_GRACE_SECONDS)


async def _sweep(engine: Engine) -> None:
    while True:
        await asyncio.sleep(engine.options.ttl_seconds)
        await sweep(engine, engine.declared.ttl)


class FirestoreServer(FirestoreControl):
    """An embedded Firestore for this process; ``address`` is the value of FIRESTORE_EMULATOR_HOST."""

    def __init__(self, options: FirestoreOptions | None = None) -> None:
        """Prepare; nothing is started yet."""
        self._options = options or FirestoreOptions()
        self._engine = Engine(self._options)
        self._acts = acts(self._engine)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._port = 0

    def start(self) -> None:
        """Start on a thread and return when it answers. Raises RuntimeError when the port is taken."""
        started: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), name="firestore", daemon=True)
        self._thread.start()
        self._port = started.result()

    def stop(self) -> None:
        """Finish what is running and stop; calling it twice, or before start, does nothing."""
        if self._thread and self._loop and self._stopping:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._thread = self._loop = self._stopping = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop."""
        self.stop()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self._options.host}:{self._port}"

    @property
    def clock(self) -> Clock:
        """The server's clock."""
        return self._engine.clock

    def act(self, name: str, /, **arguments: object) -> Any:  # noqa: ANN401  # JSON
        """Do any act by its name, on the server's loop, where the state lives."""
        return self._await(perform(self._acts, name, arguments))

    def _await(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._loop is None:
            return asyncio.run(work)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _main(self, started: Future[int]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with serving(self._engine) as port:
                started.set_result(port)
                await self._stopping.wait()
        except BaseException as error:  # noqa: BLE001  # whoever starts the server must learn of it
            if not started.done():
                started.set_exception(error)
