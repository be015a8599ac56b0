"""Which key signs this ledger's checkpoints, as the settings say."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent_mesh.ledger.errors import MalformedKey
from agent_mesh.ledger.signers import Signer, open_key_file
from agent_mesh.platform.settings import Settings, SettingsError

LOCAL_ORIGIN: Final = "localhost/agent-mesh"
"""Of a ledger on a developer's machine; a deployed one has a name that no other has."""


def origin_from(settings: Settings) -> str:
    """Return the ledger's name.

    Raises:
        SettingsError: the function is deployed and its ledger has no name.
    """
    if settings.ledger_origin:
        return settings.ledger_origin
    if settings.service:
        raise SettingsError("LEDGER_ORIGIN: a deployed ledger needs a name that it keeps and no other has")
    return LOCAL_ORIGIN


def signer_from(settings: Settings) -> Signer:
    """Return the key of the local file.

    Raises:
        SettingsError: no file is named, or what is in it is no key.
    """
    try:
        if settings.ledger_key_file:
            return open_key_file(Path(settings.ledger_key_file), origin_from(settings))
    except MalformedKey as error:
        raise SettingsError(f"LEDGER_KEY_FILE or LEDGER_ORIGIN: {error}") from error
    raise SettingsError("LEDGER_KEY_FILE: the ledger has no key to sign with")
