"""Who of the verified callers may come in."""

from __future__ import annotations

import pytest

from agent_mesh.contracts.problems import Forbidden
from agent_mesh.platform.oidc import Identity, authorize


def test_an_allowed_caller_passes_in_any_case_of_letters() -> None:
    authorize(Identity("Caller@Example.com", "1"), ["caller@example.com"])
    authorize(Identity("caller@example.com", "1"), {"other@example.com", "CALLER@example.com"})


@pytest.mark.parametrize(
    "allowed",
    [(), ("other@example.com",), ("example.com",), ("*",), ("",), "caller@example.com", ("aller@example.com",)],
)
def test_whoever_is_not_in_the_list_is_forbidden(allowed: tuple[str, ...] | str) -> None:
    with pytest.raises(Forbidden):
        authorize(Identity("caller@example.com", "1"), allowed)


def test_letters_that_only_look_like_ascii_in_lower_case_are_others() -> None:
    kelvin = "mi\N{KELVIN SIGN}e@example.com"
    assert kelvin.lower() == "mike@example.com"
    with pytest.raises(Forbidden):
        authorize(Identity(kelvin, "1"), ["mike@example.com"])
