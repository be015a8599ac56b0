"""``python -m emulator.pubsub --port 8085``: Pub/Sub as a process of its own."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable
from pathlib import Path

from emulator.errors import StartError
from emulator.pubsub.quick_import import skip_package_init
from emulator.quick_start import quick_imports


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    options = _arguments()
    with quick_imports():
        skip_package_init("google.pubsub_v1")
        from emulator.pubsub.server import PubsubOptions, PubsubServer

    mint = None
    if options.token_url:
        from emulator.oidc.remote import remote_tokens

        mint = remote_tokens(options.token_url)
    server = PubsubServer(
        PubsubOptions(host=options.host, port=options.port, mint=mint, storage=options.storage, held=options.held)
    )
    try:
        server.run(lambda address: print(f"Pub/Sub listens on {address}", flush=True), _on_signals)
    except StartError as error:
        raise SystemExit(str(error)) from None


def _on_signals(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emulator.pubsub", description="Pub/Sub on this machine")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8085, help="port to listen on; 0 takes a free one")
    parser.add_argument("--storage", type=Path, help="keep everything in this SQLite file over restarts")
    parser.add_argument("--token-url", default="", help="where to mint the ID tokens of pushes (OIDC_TOKEN_URL)")
    parser.add_argument("--held", action="store_true", help="push nothing until the control says so")
    return parser.parse_args()


if __name__ == "__main__":
    main()
