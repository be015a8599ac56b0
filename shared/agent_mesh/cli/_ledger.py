"""`ledger ...`: the audit ledger. `verify` and `witness` need no mesh; the rest asks the audit function."""

from __future__ import annotations

import typer

from agent_mesh.cli import _ledger_append, _ledger_fsck, _ledger_read, _ledger_verify, _ledger_witness


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    ledger = typer.Typer(
        name="ledger",
        help="Append to the audit ledger, read it, and verify that nobody has changed it.",
        no_args_is_help=True,
    )
    for part in (_ledger_verify, _ledger_read, _ledger_append, _ledger_fsck, _ledger_witness):
        part.register(ledger)
    app.add_typer(ledger)
