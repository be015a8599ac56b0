"""`relay publish`, `relay watch`: live messages."""

from __future__ import annotations

import json
from typing import Annotated, cast

import typer
from pydantic import JsonValue

from agent_mesh.cli._command import add_command
from agent_mesh.cli._input import read_text, wrong
from agent_mesh.cli._session import Session
from agent_mesh.cli._text import printable
from agent_mesh.client import RelayGap
from agent_mesh.contracts.relay import RelayMessage


def register(app: typer.Typer) -> None:
    """Add the commands."""
    relay = typer.Typer(help="Publish live messages and watch them.", no_args_is_help=True)
    add_command(relay, "publish", publish)
    add_command(relay, "watch", watch)
    app.add_typer(relay, name="relay")


def publish(
    session: Session,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Words joined by dots, such as access.intent.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file with one JSON object; - is stdin.")],
    *,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same one publishes once.")] = None,
) -> None:
    """Publish a message on a topic."""
    payload = _object(file)
    answer = session.relay.publish(topic, payload, idempotency_key=key)
    session.answer(answer, f"Published as {answer.event_id}.")


def watch(
    session: Session,
    patterns: Annotated[
        list[str], typer.Argument(metavar="PATTERN...", help="Topics; * is one word, ** at the end one or more.")
    ],
    *,
    last: Annotated[str, typer.Option(metavar="ID", help="Go on behind this event.")] = "",
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many messages.")] = None,
) -> None:
    """Print messages as they are published, one a line, until Ctrl-C; first the history.

    Of an event of the mesh its subject and its data are printed; --json prints all of it.
    """
    seen = 0
    for event in session.relay.watch(*patterns, last_event_id=last):
        if isinstance(event, RelayGap):
            session.say(f"Messages of {printable(event.topic)} may be missing here: {event.reason}.")
            continue
        if session.json:
            typer.echo(event.model_dump_json())
        else:
            session.out.print(printable(_line(event)), markup=False, soft_wrap=True)
        seen += 1
        if seen == count:
            return


def _line(event: RelayMessage) -> str:
    """Return a message as a person reads it: of an event of the mesh what it is about and what it says."""
    payload, subject = event.payload, ""
    if "specversion" in payload and isinstance(payload.get("data"), dict):
        subject = f" {payload.get('subject', '')}"
        payload = cast("dict[str, JsonValue]", payload["data"])
    return f"{event.id} {event.topic}{subject} {json.dumps(payload, ensure_ascii=False)}"


def _object(file: str) -> dict[str, JsonValue]:
    try:
        value = json.loads(read_text(file, "FILE"))
    except (ValueError, RecursionError) as error:
        raise wrong("FILE", f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise wrong("FILE", "has to be one JSON object")
    return value
