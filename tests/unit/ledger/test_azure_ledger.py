"""Checkpoints go to an Azure Confidential Ledger through Microsoft's client, and only receipts that verify are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_mesh.ledger import parse_note
from agent_mesh.ledger.azure_ledger import AzureLedger, AzurePatience, azure_ledger_from
from agent_mesh.ledger.errors import WitnessRefused, WitnessUnavailable
from agent_mesh.platform.settings import Settings, SettingsError
from tests.unit.ledger.an_azure_ledger import TOKEN, AnAzureLedger, pem
from tests.unit.ledger.small_log import SmallLog
from tests.unit.ledger.stub_server import Answer

pytest.importorskip("azure.confidentialledger", reason="the extra azure is not installed")
from azure.core.credentials import AccessToken

POST, STATUS, RECEIPT = "/app/transactions", "/app/transactions/2.1/status", "/app/transactions/2.1/receipt"
NOTE = SmallLog().checkpoint()


class Credential:
    """An access token of a third party, as Microsoft's clients ask for it."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        assert scopes == ("https://confidential-ledger.azure.com/.default",)
        return AccessToken(self.token, 4_000_000_000)


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[AnAzureLedger]:
    ledger = AnAzureLedger(tmp_path)
    with ledger.server:
        yield ledger


@pytest.fixture
def ledger(azure: AnAzureLedger) -> AzureLedger:
    return AzureLedger(
        azure.server.url,
        azure.server.url,
        "agent-mesh",
        Credential(),
        str(azure.service_file),
        AzurePatience(call_s=20.0, whole_s=60.0, pause_s=0.01),
    )


@pytest.mark.parametrize("claims", [True, False])
def test_a_checkpoint_is_posted_waited_for_and_its_receipt_kept(
    ledger: AzureLedger, azure: AnAzureLedger, *, claims: bool
) -> None:
    azure.claims = claims
    anchor = ledger.anchor(NOTE)
    assert (anchor.size, anchor.transaction) == (0, "2.1")
    assert azure.entries == [{"contents": str(NOTE), "collectionId": "agent-mesh"}]
    kept = json.loads(anchor.receipt)
    assert parse_note(kept["contents"]) == NOTE
    assert kept["serviceCertificate"] == pem(azure.service)
    assert kept["receipt"]["leafComponents"]["commitEvidence"] == "ce:2.1:0"


@pytest.mark.parametrize("path", [STATUS, RECEIPT])
@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_a_node_that_does_not_know_it_yet_or_fails_is_asked_again(
    ledger: AzureLedger, azure: AnAzureLedger, path: str, status: int
) -> None:
    azure.instead = {path: [Answer(status, headers={"Retry-After": "3600"})]}
    assert ledger.anchor(NOTE).transaction == "2.1"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_when_azure_cannot_take_it_the_next_round_tries_again(
    ledger: AzureLedger, azure: AnAzureLedger, status: int
) -> None:
    azure.instead = {POST: [Answer(status, headers={"Retry-After": "3600"})]}
    with pytest.raises(WitnessUnavailable):
        ledger.anchor(NOTE)
    assert ledger.anchor(NOTE).transaction == "2.1"


def test_what_is_never_committed_is_not_waited_for_without_end(ledger: AzureLedger, azure: AnAzureLedger) -> None:
    azure.pending = 1_000_000
    impatient = replace(ledger, patience=AzurePatience(call_s=20.0, whole_s=0.3, pause_s=0.01))
    with pytest.raises(WitnessUnavailable, match="Committed"):
        impatient.anchor(NOTE)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_is_one(ledger: AzureLedger, azure: AnAzureLedger, status: int) -> None:
    azure.instead = {POST: [Answer(status)]}
    with pytest.raises(WitnessRefused):
        ledger.anchor(NOTE)


def test_a_wrong_token_is_refused(ledger: AzureLedger, azure: AnAzureLedger) -> None:
    with pytest.raises(WitnessRefused):
        replace(ledger, credential=Credential("another")).anchor(NOTE)
    assert azure.entries == []


def test_a_server_with_another_certificate_gets_no_token(ledger: AzureLedger, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = AnAzureLedger(tmp_path / "other")
    with other.server:
        pretended = replace(ledger, url=other.server.url)
        with pytest.raises(WitnessUnavailable):
            pretended.anchor(NOTE)
    assert other.server.asked == []


def test_an_identity_service_that_nobody_vouches_for_is_not_believed(ledger: AzureLedger) -> None:
    with pytest.raises(WitnessUnavailable):
        replace(ledger, identity_ca=True).anchor(NOTE)


def test_a_server_that_is_not_there_is_unavailable(ledger: AzureLedger) -> None:
    with pytest.raises(WitnessUnavailable):
        replace(ledger, url="https://localhost:9").anchor(NOTE)


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: proof["receipt"].update(signature="AAAA"),
        lambda proof: proof["receipt"].update(proof=[]),
        lambda proof: proof["receipt"].update(cert="no certificate"),
        lambda proof: proof["receipt"].update(nodeId="00"),
        lambda proof: proof["receipt"].update(leafComponents={}),
        lambda proof: proof["receipt"]["leafComponents"].update(commitEvidence="ce:2.2:0"),
        lambda proof: proof["applicationClaims"][0]["ledgerEntry"].update(contents="another"),
        lambda proof: proof["applicationClaims"][0].update(kind="Unknown"),
        lambda proof: proof.pop("receipt"),
    ],
    ids=["signature", "proof", "certificate", "node", "leaf", "transaction", "contents", "kind", "none"],
)
def test_a_receipt_that_does_not_verify_is_refused(ledger: AzureLedger, azure: AnAzureLedger, change: Change) -> None:
    azure.entries = [{"contents": str(NOTE), "collectionId": "agent-mesh"}]
    proof = azure.receipt(1)
    change(proof)
    azure.entries = []
    azure.instead = {RECEIPT: [Answer(200, json.dumps(proof).encode(), {"Content-Type": "application/json"})]}
    with pytest.raises(WitnessRefused):
        ledger.anchor(NOTE)


def test_the_receipt_of_another_entry_is_refused(ledger: AzureLedger, azure: AnAzureLedger) -> None:
    azure.entries = [{"contents": "another", "collectionId": "agent-mesh"}]
    other = json.dumps(azure.receipt(1)).encode()
    azure.entries = []
    azure.instead = {RECEIPT: [Answer(200, other, {"Content-Type": "application/json"})]}
    with pytest.raises(WitnessRefused, match="another entry"):
        ledger.anchor(NOTE)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (POST, Answer(200, b"{}", {"Content-Type": "application/json"})),
        (POST, Answer(200, b"<html>", {"x-ms-ccf-transaction-id": "2.1"})),
        ("/ledgerIdentity/localhost", Answer(200, b"{}", {"Content-Type": "application/json"})),
        (STATUS, Answer(200, b"[]", {"Content-Type": "application/json"})),
    ],
    ids=["no transaction", "no JSON", "no certificate", "no object"],
)
def test_what_is_not_as_documented_is_refused(
    ledger: AzureLedger, azure: AnAzureLedger, path: str, answer: Answer
) -> None:
    azure.instead = {path: [answer]}
    with pytest.raises((WitnessRefused, WitnessUnavailable)):
        ledger.anchor(NOTE)


def test_it_is_off_unless_a_url_is_set() -> None:
    assert azure_ledger_from(Settings.from_environment({})) is None


@pytest.mark.parametrize("url", ["http://name.confidential-ledger.azure.com", "name", "https://"])
def test_a_url_that_is_none_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="AZURE_LEDGER_URL"):
        azure_ledger_from(Settings.from_environment({"AZURE_LEDGER_URL": url}))


def test_the_functions_own_google_token_is_the_credential_where_an_application_is_named() -> None:
    url = {"AZURE_LEDGER_URL": "https://name.confidential-ledger.azure.com/"}
    own = azure_ledger_from(Settings.from_environment(url))
    entra = {"AZURE_TENANT_ID": "11111111-1111-1111-1111-111111111111", "AZURE_CLIENT_ID": "an-application"}
    federated = azure_ledger_from(Settings.from_environment({**url, **entra}))
    assert own is not None
    assert federated is not None
    assert federated.url == "https://name.confidential-ledger.azure.com"
    names = [type(each.credential).__name__ for each in (own, federated)]
    assert names == ["DefaultAzureCredential", "ClientAssertionCredential"]


def test_nothing_of_microsofts_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, agent_mesh.ledger.azure_ledger; print([name for name in sys.modules if name.startswith('azure')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "shared"}
    )
    assert done.stdout == "[]\n"
