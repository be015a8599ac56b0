"""Which key signs this ledger's checkpoints, and who witnesses them, as the settings say."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent_mesh.ledger.errors import MalformedKey
from agent_mesh.ledger.keys import parse_verifier_key
from agent_mesh.ledger.kms import KmsSigner
from agent_mesh.ledger.signers import Signer, open_key_file
from agent_mesh.ledger.witness_client import WitnessClient
from agent_mesh.ledger.witnesses import WitnessQuorum
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
    """Return the key in Cloud KMS if one is named, else that of the local file.

    Raises:
        SettingsError: neither is named, or what is named is no key.
    """
    try:
        if settings.ledger_kms_key:
            return KmsSigner(origin_from(settings), settings.ledger_kms_key)
        if settings.ledger_key_file:
            return open_key_file(Path(settings.ledger_key_file), origin_from(settings))
    except MalformedKey as error:
        raise SettingsError(f"LEDGER_KMS_KEY, LEDGER_KEY_FILE or LEDGER_ORIGIN: {error}") from error
    raise SettingsError("LEDGER_KMS_KEY or LEDGER_KEY_FILE: the ledger has no key to sign with")


def witnesses_from(settings: Settings) -> tuple[WitnessClient, ...]:
    """Return a client for each witness.

    Raises:
        SettingsError: a key is none of a witness, or given twice, or two witnesses have one name.
    """
    try:
        clients = tuple(WitnessClient(each.url, parse_verifier_key(each.key)) for each in settings.ledger_witnesses)
        if clients:
            WitnessQuorum(tuple(client.key for client in clients), 1)
    except MalformedKey as error:
        raise SettingsError(f"LEDGER_WITNESSES: {error}") from error
    if len({client.name for client in clients}) != len(clients):
        raise SettingsError("LEDGER_WITNESSES: two witnesses have one name")
    return clients


def quorum_from(settings: Settings) -> WitnessQuorum | None:
    """Return how many of which witnesses make a checkpoint count as witnessed; None where there are none.

    Raises:
        SettingsError: a key is none of a witness, or given twice.
    """
    keys = tuple(client.key for client in witnesses_from(settings))
    return WitnessQuorum(keys, settings.ledger_quorum or len(keys)) if keys else None
