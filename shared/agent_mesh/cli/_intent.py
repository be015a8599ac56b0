"""`intent`: asks the mesh for access by publishing intents on the relay."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from agent_mesh.cli._command import add_command
from agent_mesh.cli._input import read_text, wrong
from agent_mesh.cli._session import Session
from agent_mesh.client import RelayClient, RequestInvalid
from agent_mesh.contracts.policy import AccessIntent
from agent_mesh.contracts.problems import FieldFault
from agent_mesh.platform.ids import random_id

TOPIC: Final = "access.intent"
_JSON: Final = TypeAdapter(JsonValue)
_SHOWN_FAULTS: Final = 10


class PublishedIntent(BaseModel):
    """One intent on its way: its transaction, and the relay's id of its message."""

    model_config = ConfigDict(frozen=True)

    tx_id: str
    event_id: str


class PublishedIntents(BaseModel):
    """All of them, in the order of the file."""

    published: list[PublishedIntent]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(name="intent", help="Ask the mesh for access.", no_args_is_help=True)
    group.callback()(_root)
    add_command(group, "publish", publish)
    app.add_typer(group)


def _root() -> None:
    """Ask the mesh for access."""  # without it, Typer takes a group of one command for that command


def publish(
    session: Session,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="One intent as JSON, a list, or one in each line; - is stdin.")
    ],
) -> None:
    """Publish intents on the relay's topic access.intent; policy decides them without being asked."""
    intents = read_intents(read_text(file, "FILE"))
    published = PublishedIntents(published=[_publish(session.relay, intent) for intent in intents])
    session.answer(published, *(f"{one.tx_id}  event {one.event_id}" for one in published.published))
    session.say(f"{len(intents)} published. See what is decided: agent-mesh relay watch mesh.access.decided")


def read_intents(text: str) -> list[AccessIntent]:
    """Return the intents of a file, each with a transaction; raise `RequestInvalid` with those at fault."""
    found: list[AccessIntent] = []
    faults: list[FieldFault] = []
    for number, value in enumerate(_values(text), start=1):
        try:
            intent = AccessIntent.model_validate_json(_JSON.dump_json(value))
            found.append(intent.model_copy(update={"tx_id": intent.tx_id or random_id("tx")}))
        except ValidationError as error:
            wrong_fields = RequestInvalid.of(error).problem.errors or []
            faults += [FieldFault(field=f"intent {number}, {one.field}", message=one.message) for one in wrong_fields]
    if faults:
        raise RequestInvalid(faults[:_SHOWN_FAULTS])
    if not found:
        raise wrong("FILE", "has no intent in it")
    return found


def _values(text: str) -> list[JsonValue]:
    """Return what a JSON document or JSON Lines hold."""
    try:
        whole = _JSON.validate_json(text)
    except ValidationError:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return [_JSON.validate_json(line) for line in lines]
        except ValidationError as error:
            raise wrong("FILE", f"is neither JSON nor JSON Lines: {error.errors()[0]['msg']}") from error
    return whole if isinstance(whole, list) else [whole]


def _publish(relay: RelayClient, intent: AccessIntent) -> PublishedIntent:
    answer = relay.publish(TOPIC, intent.model_dump(mode="json"))
    return PublishedIntent(tx_id=str(intent.tx_id), event_id=answer.event_id)
