"""`ledger witness`: a witness for ledgers of others, over HTTP, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from agent_mesh.cli._command import add_command
from agent_mesh.cli._input import wrong
from agent_mesh.cli._ledger_keys import given_key
from agent_mesh.cli._session import Session
from agent_mesh.ledger.errors import MalformedKey
from agent_mesh.ledger.keys import KeyKind
from agent_mesh.ledger.signers import open_key_file, verifier_key


class Serving(BaseModel):
    """Where the witness is, and its key."""

    url: str
    key: str
    ledgers: list[str]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "witness", witness, addressed=False)


def witness(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The witness's name: a URL without its scheme.")],
    *,
    ledger: Annotated[list[str], typer.Option(metavar="KEY", help="Key of a ledger that is witnessed, or its file.")],
    folder: Annotated[str, typer.Option(help="Where the witness keeps its key and what it has seen. Never lose it.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; put TLS in front of another than this.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
) -> None:
    """Cosign checkpoints of ledgers that only ever grow, until Ctrl-C.

    The witness speaks C2SP's tlog-witness at /add-checkpoint. Give its
    URL and its key to the ledger's operator for LEDGER_WITNESSES.
    """
    from agent_mesh.ledger.witness import Witness, WitnessFolder  # needs fcntl, which Windows does not have
    from agent_mesh.ledger.witness_server import WitnessServer

    logs = [given_key(each, "--ledger") for each in ledger]
    try:
        kept = WitnessFolder(Path(folder))
        signer = open_key_file(Path(folder) / "witness.key", name)
        key = verifier_key(signer, KeyKind.COSIGNATURE)
        server = WitnessServer((host, port), Witness(signer, logs, kept, time.time))
    except (MalformedKey, OSError) as error:
        raise wrong("NAME, --folder or --port", str(error)) from error
    answer = Serving(url=f"http://{host}:{server.server_port}", key=str(key), ledgers=[str(each) for each in logs])
    session.answer(answer, f"witness   {answer.url}", f"key       {answer.key}")
    sys.stdout.flush()  # whoever reads it through a pipe waits for the address
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell lets what it starts in the background ignore the first
        signal.signal(number, signal.default_int_handler)
    try:
        server.serve_forever(0.1)
    except KeyboardInterrupt:
        session.say("The witness has stopped.")
    finally:
        server.server_close()
