"""`agent-mesh ledger` against a running ledger with a witness: append, cosign, fetch, verify, read all again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent_mesh.cli._app import app
from agent_mesh.ledger import Tile
from agent_mesh.ledger.store import _tile_id
from tests.contract.mesh import Mesh, unique
from tests.unit.ledger.a_witness import AWitness


def ledger(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["ledger", *words], input=stdin)


@pytest.fixture
def here(mesh: Mesh, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stack is found from the current folder."""
    for name in ("AGENT_MESH_ENV", "AGENT_MESH_URL", "AGENT_MESH_AUDIENCE", "AGENT_MESH_AS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(place)
    return place


def entries(tx_id: str, count: int) -> str:
    payloads = [{"text": "ü" * 3000} if number % 100 == 0 else {"number": number} for number in range(count)]
    base = {"tx_id": tx_id, "event": "seen", "actor": "me"}
    return "\n".join(json.dumps({**base, "id": f"{tx_id}-{at}", "payload": each}) for at, each in enumerate(payloads))


def test_what_was_appended_is_cosigned_and_verified_offline(mesh: Mesh, witness: AWitness, here: Path) -> None:
    tx_id = unique()
    lines = entries(tx_id, 260)
    appended = ledger("append", "-", "--json", stdin=lines)
    assert appended.exit_code == 0, appended.output
    assert len(json.loads(appended.stdout)["entries"]) == 260
    again = json.loads(ledger("append", "-", "--json", stdin=lines).stdout)["entries"]
    assert all(each["repeated"] for each in again)

    assert mesh.post("/witness", role="audit").json["cosigned"] == [witness.key.name]
    folder = here / tx_id
    fetched = ledger("receipt", tx_id, "--out", str(folder), "--witness", str(witness.key))
    assert fetched.exit_code == 0, fetched.output
    key = mesh.raw("GET", "/key", None, role="audit").body.decode().strip()
    kept = sorted(folder.glob("*.json"))
    assert len(kept) == 260
    for receipt in kept[:3]:
        proved = ledger("verify", str(receipt), "--key", key, "--witness", str(witness.key), "--json")
        assert json.loads(proved.stdout)["witnesses"] == [witness.key.name]
    stolen = json.loads(kept[0].read_text()) | {"entry": json.loads(kept[1].read_text())["entry"]}
    assert ledger("verify", "-", "--key", key, stdin=json.dumps(stolen)).exit_code == 1


def test_the_whole_ledger_is_read_again_and_a_changed_byte_found(mesh: Mesh, here: Path) -> None:
    ledger("append", "-", stdin=entries(unique(), 300))
    since = ("fsck", "--json", "--since", str(here / "seen.json"))
    first = ledger(*since)
    assert (first.exit_code, json.loads(first.stdout)["findings"]) == (0, []), first.output
    ledger("append", "-", stdin=entries(unique(), 5))
    later = json.loads(ledger(*since).stdout)
    assert (later["findings"], later["documents"], later["since"] >= 256) == ([], "read", True)

    document = mesh.database.collection("ledger").document(_tile_id(Tile(0, 0)))
    held = document.get().get("held")
    document.update({"held": held[:40] + bytes([held[40] ^ 1]) + held[41:]})
    try:
        found = ledger("fsck", "--json", "--key", mesh.raw("GET", "/key", None, role="audit").body.decode().strip())
        assert found.exit_code == 1
        places = {each["place"] for each in json.loads(found.stdout)["findings"]}
        assert "document tile/0/000" in places, "the function may serve full tiles from memory, and reads them again"
    finally:
        document.update({"held": held})
