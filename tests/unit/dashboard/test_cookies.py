"""Signed cookies, and paths to come back to: pure, so that anything can be tried on them."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.dashboard._cookies import SignedCookies
from agent_mesh.dashboard._sign_in import safe_destination
from tests.conftest import HandClock

KEYS = ("k" * 32, "o" * 32)
ORIGIN = "https://dashboard.example.com"


def cookies(*keys: str, clock: HandClock | None = None) -> SignedCookies:
    return SignedCookies(keys, secure=True, clock=clock or HandClock())


def test_what_was_sealed_is_read_until_it_is_over_and_not_after() -> None:
    clock = HandClock()
    own = cookies(*KEYS, clock=clock)
    until = int(clock.now()) + 10
    text = own.seal("session", {"email": "é@example.com"}, until)
    assert own.open("session", text) == ({"email": "é@example.com"}, until)
    clock.advance(9.9)
    assert own.open("session", text) is not None
    clock.advance(0.1)
    assert own.open("session", text) is None


def test_a_cookie_is_for_one_purpose_and_signed_by_the_newest_key() -> None:
    until = int(HandClock().now()) + 10
    text = cookies(*KEYS).seal("sign-in", {"state": "s"}, until)
    assert cookies(*KEYS).open("session", text) is None
    assert cookies(KEYS[0]).open("sign-in", text) is not None
    assert cookies(KEYS[1]).open("sign-in", text) is None
    assert cookies().open("sign-in", text) is None, "without a key nothing is ours"


@given(st.text(max_size=200))
def test_no_text_is_a_cookie_or_breaks_anything(text: str) -> None:
    assert cookies(*KEYS).open("session", text) is None


@given(st.data())
def test_a_cookie_of_which_a_character_was_changed_is_none(data: st.DataObject) -> None:
    own = cookies(*KEYS)
    text = own.seal("session", {"email": "olga@example.com", "sub": "1"}, int(HandClock().now()) + 10)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[place]))
    changed = own.open("session", text[:place] + other + text[place + 1 :])
    # The last character of base64 holds bits that mean nothing: it may change, what was signed may not.
    assert changed is None or (place == len(text) - 1 and changed[0]["email"] == "olga@example.com")


@given(st.text(max_size=60) | st.text("/\\.:@?#%aA \t\r\n", max_size=12).map("/".__add__))
def test_whatever_somebody_wants_to_come_back_to_is_a_page_of_ours(wanted: str) -> None:
    safe = safe_destination(wanted)
    assert safe in {wanted, "/"}
    for base in (ORIGIN, f"{ORIGIN}/auth/callback"):
        target = urlsplit(urljoin(base, safe))
        assert (target.scheme, target.netloc) == ("https", "dashboard.example.com")
    assert not safe.startswith(("/auth/", "/api/"))
