"""Azure Confidential Ledger as a witness: it gets checkpoints as entries, and its receipts are kept beside them.

It runs in enclaves and signs a Merkle tree of its own, so that its operator cannot take an entry back. It does not
check that a checkpoint continues the last one: it proves that a checkpoint was there, which is why its receipts stand
beside cosignatures and never count as one. The client is Microsoft's (extra `azure`), imported only where
AZURE_LEDGER_URL is set. Its pollers run in threads of their own and know no deadline; the loops here are in its place.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.ledger.checkpoints import open_checkpoint, parse_checkpoint
from agent_mesh.ledger.cosigned import Anchor
from agent_mesh.ledger.errors import WitnessRefused, WitnessUnavailable
from agent_mesh.ledger.keys import VerifierKey
from agent_mesh.ledger.notes import Note, parse_note
from agent_mesh.platform.id_tokens import IdTokenSource
from agent_mesh.platform.settings import Settings, SettingsError

if TYPE_CHECKING:  # imported at the first checkpoint: half a second, and not there without the extra
    from azure.confidentialledger import ConfidentialLedgerClient
    from azure.core.credentials import TokenCredential
    from azure.core.exceptions import AzureError

AZURE: Final = "azure"
"""Name of the anchors that it gives."""

_EXCHANGE_AUDIENCE: Final = "api://AzureADTokenExchange"
"""Audience that Entra wants of tokens of federated identities."""

_TRANSIENT: Final = frozenset({408, 429})
_NOT_FOUND: Final = 404
_SERVER_ERROR: Final = 500


@dataclass(frozen=True)
class AzurePatience:
    """How long one checkpoint may take, in seconds."""

    call_s: float = 10.0
    whole_s: float = 30.0
    pause_s: float = 0.5


@dataclass(frozen=True)
class AzureLedger:
    """One ledger, and who we are to it."""

    url: str
    identity_url: str
    collection: str
    credential: TokenCredential
    identity_ca: str | bool = True
    """Which certificates the identity service may have: a file, or True for those that the machine trusts."""

    patience: AzurePatience = AzurePatience()

    def anchor(self, note: Note) -> Anchor:
        """Post a checkpoint, wait until it is committed, and return where it is, with a receipt that was verified.

        Raises:
            WitnessUnavailable: Azure cannot be reached, or has not committed in time. Posting again does no harm.
            WitnessRefused: it does not let us, or what it answered is no receipt for this checkpoint.
        """
        deadline = time.monotonic() + self.patience.whole_s
        with _azure_errors():
            certificate = self._service_certificate()
            with self._connected(certificate) as client:
                posted = client.create_ledger_entry({"contents": str(note)}, collection_id=self.collection)
                transaction = _transaction(posted)
                self._until("Committed", lambda: client.get_transaction_status(transaction), deadline)
                proof = self._until("Ready", lambda: client.get_receipt(transaction), deadline)
        kept = {**proof, "collectionId": self.collection, "contents": str(note), "serviceCertificate": certificate}
        receipt = json.dumps(kept, sort_keys=True)
        _check_receipt(proof, certificate, str(note), self.collection)
        return Anchor(parse_checkpoint(note.text).size, transaction, receipt)

    def _service_certificate(self) -> str:
        from azure.confidentialledger.certificate import ConfidentialLedgerCertificateClient

        name = (urlsplit(self.url).hostname or "").split(".", maxsplit=1)[0]
        with ConfidentialLedgerCertificateClient(
            self.identity_url, connection_verify=self.identity_ca, **self._bounds()
        ) as client:
            return str(client.get_ledger_identity(name)["ledgerTlsCertificate"])

    @contextmanager
    def _connected(self, certificate: str) -> Iterator[ConfidentialLedgerClient]:
        from azure.confidentialledger import ConfidentialLedgerClient

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "service.pem"
            path.write_text(certificate, encoding="ascii")
            with ConfidentialLedgerClient(  # type: ignore[call-arg]  # its types are those of a base class
                self.url, self.credential, ledger_certificate_path=str(path), **self._bounds()
            ) as client:
                yield client

    def _bounds(self) -> dict[str, Any]:
        """One attempt a call: a `Retry-After` would be slept through, and the next round posts again."""
        return {
            "connection_timeout": self.patience.call_s,
            "read_timeout": self.patience.call_s,
            "retry_total": 0,
            "logging_enable": False,
        }

    def _until(self, state: str, ask: Callable[[], Mapping[str, Any]], deadline: float) -> Mapping[str, Any]:
        """Return the first answer with this state."""
        from azure.core.exceptions import AzureError

        while True:
            try:
                answer = ask()
            except AzureError as error:
                elsewhere = getattr(error, "status_code", None) == _NOT_FOUND  # at a node that does not have it yet
                if not (elsewhere or _passes(error)) or time.monotonic() > deadline:
                    raise
            else:
                if answer.get("state") == state:
                    return answer
            if time.monotonic() > deadline:
                raise WitnessUnavailable(f"Azure has a checkpoint and does not say that it is {state} in time")
            time.sleep(self.patience.pause_s)


def check_anchor(anchor: Anchor, log_key: VerifierKey) -> None:
    """Check that an anchor is Azure's receipt for a checkpoint of this ledger.

    Azure's own signature is checked only where its client is installed.

    Raises:
        WitnessRefused: it is not.
        LedgerError: what it has is no checkpoint that the ledger has signed.
    """
    try:
        kept = json.loads(anchor.receipt)
        contents, collection = str(kept["contents"]), str(kept["collectionId"])
        stands = (kept["transactionId"], parse_checkpoint(parse_note(contents).text).size)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WitnessRefused(f"it is no receipt ({type(error).__name__})") from error
    open_checkpoint(parse_note(contents), log_key)
    if stands != (anchor.transaction, anchor.size):
        raise WitnessRefused("it is the receipt of another transaction or checkpoint")
    if installed():
        _check_receipt(kept, str(kept.get("serviceCertificate")), contents, collection)


def installed() -> bool:
    """Return whether Microsoft's client is there: the packages of the extra `azure`."""
    return bool(importlib.util.find_spec("azure")) and all(map(importlib.util.find_spec, _PACKAGES))


def azure_ledger_from(settings: Settings) -> AzureLedger | None:
    """Return the ledger that AZURE_LEDGER_URL names, None if it is empty.

    With AZURE_TENANT_ID and AZURE_CLIENT_ID the function shows Entra its own Google ID token: there is no secret.

    Raises:
        SettingsError: the URL is none, or Microsoft's client is not installed.
    """
    if not settings.azure_ledger_url:
        return None
    if urlsplit(settings.azure_ledger_url).scheme != "https" or not urlsplit(settings.azure_ledger_url).hostname:
        raise SettingsError(f"AZURE_LEDGER_URL: {settings.azure_ledger_url!r} is no https address")
    if not installed():
        raise SettingsError("AZURE_LEDGER_URL: needs the packages of the extra `azure`; see docs/deploy.md")
    return AzureLedger(
        settings.azure_ledger_url.rstrip("/"),
        settings.azure_ledger_identity_url,
        settings.azure_ledger_collection,
        _credential(settings),
    )


_PACKAGES: Final = ("azure.confidentialledger", "azure.identity")


def _credential(settings: Settings) -> TokenCredential:
    from azure.identity import ClientAssertionCredential, DefaultAzureCredential

    if settings.azure_tenant_id and settings.azure_client_id:
        own = IdTokenSource()
        return ClientAssertionCredential(
            settings.azure_tenant_id, settings.azure_client_id, lambda: own.token(_EXCHANGE_AUDIENCE)
        )
    return DefaultAzureCredential()


def _transaction(posted: Mapping[str, Any]) -> str:
    transaction = posted.get("transactionId")
    if not isinstance(transaction, str) or not transaction:
        raise WitnessRefused("Azure took a checkpoint and did not say in which transaction")
    return transaction


def _check_receipt(proof: Mapping[str, Any], certificate: str, contents: str, collection: str) -> None:
    """Check Azure's receipt with its service certificate, and that it is about this entry where it says so.

    Raises:
        WitnessRefused: it is not.
    """
    from azure.confidentialledger.receipt import verify_receipt

    claims = proof.get("applicationClaims") or None
    try:
        verify_receipt(deepcopy(proof["receipt"]), certificate, application_claims=deepcopy(claims))
        entries = [claim["ledgerEntry"] for claim in claims or [] if claim["kind"] == "LedgerEntry"]
    except (ValueError, AssertionError, KeyError, TypeError) as error:
        raise WitnessRefused(f"Azure's receipt does not verify: {error}") from error
    if any((entry.get("contents"), entry.get("collectionId")) != (contents, collection) for entry in entries):
        raise WitnessRefused("Azure's receipt is about another entry")


@contextmanager
def _azure_errors() -> Iterator[None]:
    from azure.core.exceptions import AzureError

    try:
        yield
    except Unavailable as error:
        raise WitnessUnavailable(f"there is no token for Azure: {error.detail}") from error
    except AzureError as error:
        if _passes(error):
            raise WitnessUnavailable(f"Azure cannot take a checkpoint at the moment: {_words(error)}") from error
        raise WitnessRefused(f"Azure does not take a checkpoint: {_words(error)}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # JSON of another shape than documented
        raise WitnessRefused(f"Azure answered something unexpected ({type(error).__name__}: {error})") from error


def _passes(error: AzureError) -> bool:
    """Return whether the same call may succeed later. What has no status did not reach Azure."""
    from azure.core.exceptions import ClientAuthenticationError

    status = getattr(error, "status_code", None)
    if isinstance(error, ClientAuthenticationError):
        return False
    return status is None or status in _TRANSIENT or status >= _SERVER_ERROR


def _words(error: AzureError) -> str:
    return str(error.message).strip().splitlines()[0][:300] if error.message else type(error).__name__
