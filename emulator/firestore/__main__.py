"""``python -m emulator.firestore --port 8080``: the embedded Firestore as a process of its own."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from emulator.quick_start import quick_imports

with quick_imports():
    import asyncio

    from emulator.firestore.engine import Engine
    from emulator.firestore.options import FirestoreOptions
    from emulator.firestore.server import serving
    from emulator.firestore.transactions import Concurrency


def options_from(arguments: list[str]) -> FirestoreOptions:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m emulator.firestore", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one; the address is printed")
    parser.add_argument("--concurrency", choices=[each.value for each in Concurrency], default="pessimistic")
    parser.add_argument("--lock-wait", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--indexes", type=Path, help="firestore.indexes.json: refuse queries without their index")
    parser.add_argument("--storage", type=Path, help="SQLite file that keeps the documents over restarts")
    given = parser.parse_args(arguments)
    return FirestoreOptions(
        host=given.host,
        port=given.port,
        concurrency=Concurrency(given.concurrency),
        lock_wait_seconds=given.lock_wait,
        indexes=given.indexes,
        storage=given.storage,
    )


async def run(options: FirestoreOptions) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serving(Engine(options)) as port:
        print(f"FIRESTORE_EMULATOR_HOST={options.host}:{port}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(run(options_from(sys.argv[1:])))
