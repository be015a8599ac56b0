"""Settings say which key signs and who witnesses, and what they cannot say stops the start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_mesh.ledger import KeyKind, LocalSigner, verifier_key
from agent_mesh.ledger.kms import KmsSigner
from agent_mesh.ledger.signing import LOCAL_ORIGIN, origin_from, quorum_from, signer_from, witnesses_from
from agent_mesh.platform.settings import Settings, SettingsError

KMS_KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
DEPLOYED = {"K_SERVICE": "mesh-dev-audit", "LEDGER_ORIGIN": "ledger.example/mesh"}
FIRST, SECOND = (
    str(verifier_key(LocalSigner(name, name.encode().ljust(32)), KeyKind.COSIGNATURE)) for name in ("w1", "w2")
)


def settings(**environ: str) -> Settings:
    return Settings.from_environment(environ)


def witnesses(*keys: str) -> str:
    return json.dumps([{"url": "https://w.example/", "key": key} for key in keys])


def test_a_key_in_cloud_kms_is_taken_before_a_file() -> None:
    signer = signer_from(settings(**DEPLOYED, LEDGER_KMS_KEY=KMS_KEY, LEDGER_KEY_FILE="/nowhere"))
    assert isinstance(signer, KmsSigner)
    assert signer.name == "ledger.example/mesh"


def test_on_a_developers_machine_a_file_is_enough(tmp_path: Path) -> None:
    signer = signer_from(settings(LEDGER_KEY_FILE=str(tmp_path / "key")))
    assert isinstance(signer, LocalSigner)
    assert signer.name == LOCAL_ORIGIN == origin_from(settings())


def test_a_deployed_function_takes_a_file_only_where_that_is_allowed(tmp_path: Path) -> None:
    file = {"LEDGER_KEY_FILE": str(tmp_path / "key")}
    with pytest.raises(SettingsError, match="LEDGER_LOCAL_KEY_ALLOWED"):
        settings(**DEPLOYED, **file)
    assert isinstance(signer_from(settings(**DEPLOYED, **file, LEDGER_LOCAL_KEY_ALLOWED="true")), LocalSigner)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LEDGER_KMS_KEY": "projects/p"},
        {"LEDGER_KMS_KEY": KMS_KEY, "LEDGER_ORIGIN": "a name"},
        {"LEDGER_KMS_KEY": KMS_KEY, "K_SERVICE": "mesh-dev-audit"},
        {"LEDGER_KEY_FILE": "/dev/null/key"},
    ],
    ids=str,
)
def test_what_names_no_key_stops_the_start(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="LEDGER_"):
        signer_from(settings(**environ))


def test_all_witnesses_are_needed_unless_it_is_said_how_many() -> None:
    assert quorum_from(settings()) is None
    whole = quorum_from(settings(LEDGER_WITNESSES=witnesses(FIRST, SECOND)))
    assert whole is not None
    assert ([key.name for key in whole.witnesses], whole.needed) == (["w1", "w2"], 2)
    part = quorum_from(settings(LEDGER_WITNESSES=witnesses(FIRST, SECOND), LEDGER_QUORUM="1"))
    assert part is not None
    assert part.needed == 1


@pytest.mark.parametrize(
    "listed",
    [
        witnesses("no key"),
        witnesses(FIRST, FIRST),
        witnesses(FIRST, str(verifier_key(LocalSigner("w1", bytes(32)), KeyKind.COSIGNATURE))),
        witnesses(str(verifier_key(LocalSigner("w", bytes(32))))),
    ],
    ids=["no key", "twice", "one name", "a log's"],
)
def test_a_witness_that_is_none_stops_the_start(listed: str) -> None:
    with pytest.raises(SettingsError, match="LEDGER_WITNESSES"):
        witnesses_from(settings(LEDGER_WITNESSES=listed))


@pytest.mark.parametrize(
    "environ",
    [
        {"LEDGER_WITNESSES": "{"},
        {"LEDGER_WITNESSES": "{}"},
        {"LEDGER_WITNESSES": '[{"url": "w.example", "key": "k"}]'},
        {"LEDGER_WITNESSES": '[{"url": "https://w.example", "key": "k", "more": 1}]'},
        {"LEDGER_QUORUM": "1"},
    ],
    ids=str,
)
def test_a_list_of_witnesses_that_is_none_stops_the_start(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="LEDGER_"):
        settings(**environ)
