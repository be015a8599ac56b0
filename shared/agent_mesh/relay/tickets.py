"""The `relay_tickets` collection: a ticket opens one stream once, for browsers, whose EventSource sends no headers.

Whoever has a valid token buys a ticket and puts it into the stream's address. It says who that was and which topics,
lives for a minute, and is gone with its first use: redeeming deletes the document, conditional on its being as it was
read, so of two that try at once one loses. What is stored is a hash: who reads the database cannot use it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from agent_mesh.contracts.problems import Forbidden, Unauthenticated
from agent_mesh.platform.clock import Clock, moment
from agent_mesh.platform.firestore import FirestoreClient, LostRace, firestore_errors
from agent_mesh.platform.ids import fingerprint, random_id
from agent_mesh.relay.topics import TopicPattern, parse_patterns

COLLECTION: Final = "relay_tickets"
LIFETIME: Final = timedelta(seconds=60)

_SECRET_BYTES: Final = 32
_SHAPE: Final = re.compile(r"(ticket_[a-z2-7]{26})\.([A-Za-z0-9_-]{43})", flags=re.ASCII)


@dataclass(frozen=True)
class Ticket:
    """What a ticket was bought for."""

    identity: str
    patterns: tuple[TopicPattern, ...]


class Tickets:
    """Sells and redeems tickets."""

    def __init__(self, database: FirestoreClient, clock: Clock) -> None:
        """Use this database."""
        self._database = database
        self._clock = clock

    def issue(self, ticket: Ticket) -> str:
        """Store a ticket and return the text that redeems it: known to nobody else, and to us only now."""
        ticket_id, secret = random_id("ticket"), secrets.token_urlsafe(_SECRET_BYTES)
        fields = {
            "secretHash": fingerprint(ticket_id, secret),
            "identity": ticket.identity,
            "patterns": [pattern.text for pattern in ticket.patterns],
            "expireAt": moment(self._clock.now()) + LIFETIME,
        }
        with firestore_errors():
            self._document(ticket_id).create(fields)
        return f"{ticket_id}.{secret}"

    def redeem(self, text: str, patterns: tuple[TopicPattern, ...]) -> Ticket:
        """Use a ticket up for a stream over these patterns, each of which it must name.

        Raises `Unauthenticated` for a ticket that is made up, used or too old, with one message for all, and
        `Forbidden` for other patterns, which leaves the ticket unused.
        """
        shape = _SHAPE.fullmatch(text)
        if not shape:
            raise _refused()
        reference = self._document(shape[1])
        with firestore_errors():
            snapshot = reference.get()
        fields: dict[str, Any] = snapshot.to_dict() or {}
        if not hmac.compare_digest(str(fields.get("secretHash", "")), fingerprint(*shape.groups())):
            raise _refused()
        if fields["expireAt"] <= moment(self._clock.now()):
            raise _refused()
        ticket = Ticket(fields["identity"], parse_patterns(fields["patterns"]))
        if not set(patterns) <= set(ticket.patterns):
            raise Forbidden(f"The ticket is for {', '.join(fields['patterns'])}: ask for these, or buy another.")
        try:
            with firestore_errors():
                reference.delete(option=self._database.unchanged_since(snapshot.update_time))
        except LostRace as lost:
            raise _refused() from lost
        return ticket

    def _document(self, ticket_id: str) -> Any:  # noqa: ANN401  # the client's reference type is untyped
        return self._database.collection(COLLECTION).document(ticket_id)


def _refused() -> Unauthenticated:
    return Unauthenticated("The ticket is not valid, was used, or is older than a minute: buy a new one.")
