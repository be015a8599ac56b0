"""Why Google mints no ID token for an impersonated account, and what to do about it.

google-auth raises few kinds of errors and puts Google's answer into their text: that is where the cause stands.
"""

from __future__ import annotations

import os
import re
from typing import Final

OPEN_ID_TOKEN_ROLE: Final = "roles/iam.serviceAccountOpenIdTokenCreator"  # noqa: S105  # a role's name
LOGIN: Final = "gcloud auth application-default login"

_MAY_IMPERSONATE: Final = (
    "Your Google account needs " + OPEN_ID_TOKEN_ROLE + " on {account}: add user:YOUR-EMAIL to `operators` of the "
    "Terraform variables and apply; it takes effect after a minute or two."
)

_ENABLE_API: Final = (
    "Enable the API in the project that Google names: gcloud services enable iamcredentials.googleapis.com "
    "--project=PROJECT. If that is another project than the mesh's, do: "
    "gcloud auth application-default set-quota-project {project}"
)

_CAUSES: Final = (
    (
        r"SERVICE_DISABLED|has not been used in project",
        _ENABLE_API,
    ),
    (
        r"SCOPE_INSUFFICIENT|insufficient authentication scopes",
        f"These credentials lack the scope cloud-platform. Get others: {LOGIN}",
    ),
    (r"getOpenIdToken|PERMISSION_DENIED", _MAY_IMPERSONATE),
    (
        r"NOT_FOUND|Gaia id not found",
        "Google knows no account {account}. Take `actAs` of `terraform output -json mesh`.",
    ),
    (
        r"short-lived token|reasonable timeframe",
        "Set this machine's clock by NTP: what it signs is dated too far from now.",
    ),
    (
        r"invalid_grant|invalid_rapt|Reauth",
        f"The credentials of this machine have expired or were revoked. Run: {LOGIN}",
    ),
    (r"^DefaultCredentialsError", f"This machine has no credentials that can be used. Run: {LOGIN}"),
    (
        r"^TransportError|^(Proxy|SSL|Connection)\w*Error|Timeout|Max retries",
        "Google cannot be reached from here: check the network, and HTTPS_PROXY where there is a proxy.",
    ),
)
"""Pattern in the error's text to advice; the first that is found counts."""

_GOOGLES_WORDS: Final = re.compile(r"""'message': (?P<quote>['"])(?P<words>.+?)(?P=quote)[,}]""")

_GOOGLES_OWN_ADVICE: Final = " To set up Application Default Credentials"


class MintError(Exception):
    """No ID token came back; the text says why, without any token in it. `advice` is what to do, where it is known."""

    def __init__(self, reason: str, advice: str = "") -> None:
        """Keep both."""
        super().__init__(reason)
        self.advice = advice


def impersonation_fault(error: Exception, account: str) -> MintError:
    """Return an error of google-auth, met while minting as `account`, with what to do about it."""
    text = f"{type(error).__name__}: {error}"
    words = _GOOGLES_WORDS.search(text)
    reason = f"Google says: {words['words']}" if words else text.partition(_GOOGLES_OWN_ADVICE)[0]
    return MintError(reason, _advice(text, account))


def _advice(text: str, account: str) -> str:
    found = next((advice for pattern, advice in _CAUSES if re.search(pattern, text)), _MAY_IMPERSONATE)
    project = account.rpartition("@")[2].removesuffix(".iam.gserviceaccount.com")
    own_file = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if own_file and LOGIN in found:
        found += f", with GOOGLE_APPLICATION_CREDENTIALS unset: it names {own_file}."
    return found.replace("{account}", account).replace("{project}", project)
