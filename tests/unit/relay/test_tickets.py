"""A ticket opens one stream, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from agent_mesh.contracts.problems import Forbidden, Unauthenticated
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.relay import Ticket, Tickets, parse_patterns
from tests.conftest import HandClock

WANTED = parse_patterns(["tasks.*", "access.intent"])
TICKET = Ticket("ann@example.com", WANTED)


@pytest.fixture
def tickets(database: FirestoreClient, clock: HandClock) -> Tickets:
    return Tickets(database, clock)


def test_a_ticket_says_whose_it_is_and_is_good_for_one_use(tickets: Tickets) -> None:
    text = tickets.issue(TICKET)
    assert tickets.redeem(text, WANTED[:1]) == TICKET
    with pytest.raises(Unauthenticated):
        tickets.redeem(text, WANTED)


def test_of_many_that_use_a_ticket_at_once_one_gets_in(tickets: Tickets) -> None:
    text = tickets.issue(TICKET)

    def gets_in(_: int) -> bool:
        try:
            return tickets.redeem(text, WANTED) == TICKET
        except Unauthenticated:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(gets_in, range(8))).count(True) == 1


def test_a_ticket_is_good_for_a_minute(tickets: Tickets, clock: HandClock) -> None:
    early, late = tickets.issue(TICKET), tickets.issue(TICKET)
    clock.advance(59.9)
    assert tickets.redeem(early, WANTED) == TICKET
    clock.advance(0.1)
    with pytest.raises(Unauthenticated):
        tickets.redeem(late, WANTED)


def test_other_topics_are_refused_and_leave_the_ticket(tickets: Tickets) -> None:
    text = tickets.issue(TICKET)
    for other in ("tasks.a", "**", "access.other"):
        with pytest.raises(Forbidden, match=r"tasks\.\*, access\.intent"):
            tickets.redeem(text, parse_patterns([other]))
    assert tickets.redeem(text, WANTED) == TICKET


def test_a_made_up_ticket_is_refused_like_a_used_one(tickets: Tickets) -> None:
    text = tickets.issue(TICKET)
    ticket_id, _, secret = text.partition(".")
    swapped = ("A" if secret[0] != "A" else "B") + secret[1:]
    made_up = [
        "",
        "x",
        ticket_id,
        f"{ticket_id}.",
        f"{ticket_id}.{swapped}",
        f"ticket_{'a' * 26}.{secret}",
        text + "\n",
    ]
    told = set()
    for each in [*made_up, f"../{text}", f"{ticket_id}.{'ü' * 43}"]:
        with pytest.raises(Unauthenticated) as refused:
            tickets.redeem(each, WANTED)
        told.add(refused.value.detail)
    assert len(told) == 1
    assert tickets.redeem(text, WANTED) == TICKET


def test_what_is_stored_does_not_redeem(tickets: Tickets, database: FirestoreClient) -> None:
    text = tickets.issue(TICKET)
    (stored,) = database.collection("relay_tickets").stream()
    assert text.partition(".")[2] not in str(stored.to_dict())
    with pytest.raises(Unauthenticated):
        tickets.redeem(f"{stored.id}.{stored.get('secretHash')[:43]}", WANTED)
