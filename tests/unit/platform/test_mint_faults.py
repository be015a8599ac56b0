"""Google's refusals, as google-auth words them, with what to do about each."""

from __future__ import annotations

import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from agent_mesh.platform.mint_faults import impersonation_fault

ACCOUNT = "dev@project.iam.gserviceaccount.com"


def raised(kind: type[Exception], *words: object) -> Exception:
    return kind(*words)


@pytest.fixture(autouse=True)
def _no_credentials_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (raised(RefreshError, "Reauthentication is needed. Please run `gcloud"), "expired or were revoked"),
        (raised(RefreshError, "invalid_grant: Bad Request", {"error": "invalid_grant"}), "expired or were revoked"),
        (
            raised(RefreshError, "invalid_grant: Invalid JWT: Token must be a short-lived token (60 min)"),
            "clock by NTP",
        ),
        (
            raised(DefaultCredentialsError, "Your default credentials were not found."),
            "gcloud auth application-default login",
        ),
        (raised(TransportError, "HTTPSConnectionPool"), "Google cannot be reached"),
        (ConnectionError("refused"), "Google cannot be reached"),
        (
            raised(RefreshError, "Error getting ID token: {'error': {'code': 403, 'status': 'PERMISSION_DENIED'}}"),
            ACCOUNT,
        ),
        (ValueError("something new"), f"OpenIdTokenCreator on {ACCOUNT}"),
    ],
)
def test_each_cause_has_its_advice(error: Exception, advice: str) -> None:
    assert advice in impersonation_fault(error, ACCOUNT).advice


@pytest.mark.parametrize("words", ["It's not allowed.", 'A "quoted" word.'])
def test_googles_own_sentence_is_all_that_is_kept_of_its_answer(words: str) -> None:
    answer = {"error": {"code": 403, "message": words, "status": "PERMISSION_DENIED", "details": [{"reason": "X"}]}}
    assert (
        str(impersonation_fault(raised(RefreshError, f"Error getting ID token: {answer}"), ACCOUNT))
        == f"Google says: {words}"
    )


def test_googles_advice_gives_way_to_ours() -> None:
    error = raised(
        DefaultCredentialsError, "Your default credentials were not found. To set up Application Default Credentials"
    )
    fault = impersonation_fault(error, ACCOUNT)
    assert str(fault) == "DefaultCredentialsError: Your default credentials were not found."


def test_a_variable_that_names_a_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")
    fault = impersonation_fault(raised(DefaultCredentialsError, "File /key.json was not found."), ACCOUNT)
    assert fault.advice.endswith("GOOGLE_APPLICATION_CREDENTIALS unset: it names /key.json.")
