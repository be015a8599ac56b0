"""What a function is wired from, and who may call it."""

from __future__ import annotations

import pytest

from agent_mesh.platform.app import PUBLIC, Access
from agent_mesh.platform.clock import SystemClock
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.pubsub import PubsubPublisher
from agent_mesh.platform.settings import Settings

AUDIENCE = "https://agent.example.com"


def parts(**environment: str) -> FunctionParts:
    return FunctionParts.for_role(
        "light", Settings.from_environment({"GCP_PROJECT": "p", "OIDC_AUDIENCE": AUDIENCE, **environment})
    )


def test_the_parts_are_the_real_ones_and_nothing_is_connected() -> None:
    made = parts()
    assert isinstance(made.publisher, PubsubPublisher)
    assert isinstance(made.clock, SystemClock)
    assert made.publisher._client is None
    assert made.database._client is None


def test_an_issuer_is_trusted_with_and_without_its_scheme() -> None:
    assert parts(OIDC_ISSUER="https://issuer.test").verifier._issuers == {"https://issuer.test", "issuer.test"}


def test_a_removed_signature_is_accepted_only_where_it_was_said() -> None:
    assert not parts().verifier._accept_removed_signature
    assert parts(OIDC_ACCEPT_REMOVED_SIGNATURE="true").verifier._accept_removed_signature


def test_callers_are_those_of_every_group_for_this_functions_audience() -> None:
    access = parts().caller_access(("a@example.com",), ("b@example.com", "a@example.com"))
    assert access == Access(frozenset({"a@example.com", "b@example.com"}), (AUDIENCE,))


def test_pushes_are_verified_for_their_audience_or_else_the_functions() -> None:
    pushers = ("push@example.com",)
    assert parts().push_access(pushers, "", verify=True) == Access(frozenset(pushers), (AUDIENCE,))
    assert parts().push_access(pushers, "https://push", verify=True) == Access(frozenset(pushers), ("https://push",))


def test_pushes_are_open_where_verification_is_off() -> None:
    assert parts().push_access(("push@example.com",), "", verify=False) is PUBLIC


def test_a_function_that_was_not_told_its_audience_lets_nobody_in() -> None:
    access = parts(OIDC_AUDIENCE="").caller_access(("a@example.com",))
    assert access.audiences == ()
    assert not access.public


def test_an_app_has_its_role() -> None:
    assert parts().app("light", "Light.").flask.name == "light"


def test_a_function_with_two_addresses_takes_tokens_for_either() -> None:
    access = parts(OIDC_AUDIENCE=f"{AUDIENCE}, https://agent-1.region.run.app").caller_access(("a@example.com",))
    assert access.audiences == (AUDIENCE, "https://agent-1.region.run.app")


def test_the_database_is_the_deployments_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    assert parts(FIRESTORE_DATABASE="mesh-dev").database.client._database == "mesh-dev"
    assert parts().database.client._database == "(default)"
