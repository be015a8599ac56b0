"""The ID tokens that the mesh shows to others: one for each audience, minted by Google and kept nearly to its end.

On Google Cloud the metadata server mints them; on a developer's machine the local issuer does, through
GCE_METADATA_HOST, or a service account that the developer may impersonate: a user's own credentials cannot mint any.
"""

from __future__ import annotations

import base64
import functools
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.clock import Clock, SystemClock
from agent_mesh.platform.impersonation import MINT_TIMEOUT_S, mint_as
from agent_mesh.platform.mint_faults import MintError

RENEW_BEFORE_S = 300.0  # the metadata server itself hands out a new token from five minutes before the end on
UNUSABLE_BEFORE_S = 30.0  # a token this close to its end may expire on its way
MAX_AUDIENCES = 256
RETRY_AFTER_S = 5

Minter = Callable[[str], str]

_AMBIENT_ADVICE = (
    "On Google Cloud give the service a service account; on your machine start the local issuer and set "
    "GCE_METADATA_HOST and GCE_METADATA_IP to it, or name a service account to impersonate."
)
_CLOCK_ADVICE = "Set this machine's clock by NTP: by it the token is as good as over."
_LONGEST_REASON = 300


class NoIdToken(Unavailable):
    """No ID token can be had: `reason` says why, `advice` what to do."""

    def __init__(self, reason: str, advice: str) -> None:
        """Keep both; the detail is one after the other."""
        super().__init__(f"{reason} {advice}", retry_after_s=RETRY_AFTER_S)
        self.reason = reason
        self.advice = advice


@dataclass
class _Slot:
    """The token of one audience; times in Unix seconds. The lock is held while it is minted."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: str = ""
    expires_at: float = 0.0
    renew_at: float = 0.0
    fault: str = ""
    advice: str = ""


class IdTokenSource:
    """ID tokens by audience; one per process, safe for threads. Two audiences never wait for one another."""

    def __init__(
        self, *, target_service_account: str = "", minter: Minter | None = None, clock: Clock | None = None
    ) -> None:
        """Mint by `minter`, else as `target_service_account`, else as whatever the process runs as."""
        self._mint = minter or mint_from_environment
        if target_service_account:
            self._mint = minter or functools.partial(mint_as, target_service_account)
        self._clock = clock or SystemClock()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._slots_lock = threading.Lock()

    def token(self, audience: str) -> str:
        """Return an ID token for `audience`: five minutes from its end a new one, or the old one while minting fails.

        Raises:
            NoIdToken: none can be minted and the old one is about to expire.
        """
        slot = self._slot(audience)
        with slot.lock:
            if self._clock.now() >= slot.renew_at:
                self._renew(slot, audience)
            if self._clock.now() >= slot.expires_at - UNUSABLE_BEFORE_S:
                raise NoIdToken(f"No ID token for audience {audience!r}: {slot.fault.rstrip('.')}.", slot.advice)
            return slot.token

    def _slot(self, audience: str) -> _Slot:
        with self._slots_lock:
            slot = self._slots.setdefault(audience, _Slot())
            self._slots.move_to_end(audience)
            if len(self._slots) > MAX_AUDIENCES:
                self._slots.popitem(last=False)
            return slot

    def _renew(self, slot: _Slot, audience: str) -> None:
        """Mint once; after a failure nobody tries again for `RETRY_AFTER_S`, or every waiting thread would."""
        try:
            token = self._mint(audience)
            expires_at = expiry_of(token)
        except MintError as error:
            slot.fault, slot.advice = str(error)[:_LONGEST_REASON], error.advice or _AMBIENT_ADVICE
            slot.renew_at = self._clock.now() + RETRY_AFTER_S
            return
        slot.token, slot.expires_at, slot.renew_at = token, expires_at, expires_at - RENEW_BEFORE_S
        slot.fault, slot.advice = f"the minted token ends at {expires_at:.0f}", _CLOCK_ADVICE


def expiry_of(token: str) -> float:
    """Return the `exp` claim (Unix seconds) of a token that we got from Google ourselves: its signature is not checked.

    Raises:
        MintError: this is no JWT with a numeric `exp`.
    """
    try:
        segment = token.split(".")[1]
        expires_at = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))["exp"]
        return float(expires_at)
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise MintError(f"what was minted is no ID token: {type(error).__name__}") from None


def mint_from_environment(audience: str) -> str:
    """Mint as the identity that this process has: the metadata server, or GOOGLE_APPLICATION_CREDENTIALS.

    Raises:
        MintError: neither is there, or it refused.
    """
    from google.auth.exceptions import GoogleAuthError  # with the next two 80 ms of CPU at import
    from google.auth.transport.requests import Request
    from google.oauth2 import id_token

    try:
        request = functools.partial(Request(), timeout=MINT_TIMEOUT_S)
        return str(id_token.fetch_id_token(request, audience))  # type: ignore[no-untyped-call]
    except (GoogleAuthError, OSError, ValueError, LookupError, TypeError) as error:
        raise MintError(f"{type(error).__name__}: {error}") from error
