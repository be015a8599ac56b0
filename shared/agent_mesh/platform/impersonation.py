"""ID tokens of a service account that this machine's application-default credentials, a person's mostly, may act as."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from pathlib import Path
from typing import Any, Final

from agent_mesh.platform.mint_faults import impersonation_fault

MINT_TIMEOUT_S: Final = 10.0

_CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
_NO_QUOTA_PROJECT: Final = "Your application has authenticated using end user credentials"


def mint_as(service_account: str, audience: str) -> str:
    """Mint as `service_account`, impersonated with this process's own credentials.

    Raises:
        MintError: there are no credentials, or they may not impersonate this account.
    """
    from google.auth.exceptions import GoogleAuthError
    from google.auth.impersonated_credentials import Credentials, IDTokenCredentials
    from google.auth.transport.requests import Request

    try:
        target = Credentials(  # type: ignore[no-untyped-call]
            _own_credentials(), target_principal=service_account, target_scopes=[_CLOUD_PLATFORM]
        )
        minted = IDTokenCredentials(  # type: ignore[no-untyped-call]
            target, target_audience=audience, include_email=True
        )
        minted.refresh(functools.partial(Request(), timeout=MINT_TIMEOUT_S))
    except (GoogleAuthError, OSError, ValueError, LookupError, TypeError) as error:
        raise impersonation_fault(error, service_account) from error
    return str(minted.token)


def describe_own_credentials() -> str:
    """Return whose the application-default credentials of this machine are.

    Raises:
        MintError: there are none, or they cannot be read.
    """
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2.credentials import Credentials

    try:
        own = _own_credentials()
    except (GoogleAuthError, OSError, ValueError) as error:
        raise impersonation_fault(error, "") from error
    if isinstance(own, Credentials):
        return "a person"
    return str(getattr(own, "service_account_email", None) or type(own).__module__)


def _own_credentials() -> Any:  # noqa: ANN401  # google-auth has no types
    """Return what `google.auth.default` finds; for a person's login without the seconds it waits for gcloud.

    It starts gcloud to learn of a project, which nobody needs here.
    """
    import google.auth

    file = _gcloud_file()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _NO_QUOTA_PROJECT)  # where one is needed, Google's refusal has our advice
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or not file.is_file():
            return google.auth.default(scopes=[_CLOUD_PLATFORM])[0]
        warnings.simplefilter("ignore", DeprecationWarning)  # of files from elsewhere; gcloud's own is not one
        quota_project = os.environ.get("GOOGLE_CLOUD_QUOTA_PROJECT")
        return google.auth.load_credentials_from_file(  # type: ignore[no-untyped-call]
            str(file), quota_project_id=quota_project
        )[0]


def _gcloud_file() -> Path:
    """Return where `gcloud auth application-default login` leaves the credentials."""
    configured = os.environ.get("CLOUDSDK_CONFIG")
    if configured:
        folder = Path(configured)
    elif sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA", "")) / "gcloud"
    else:
        folder = Path.home() / ".config" / "gcloud"
    return folder / "application_default_credentials.json"
