from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest

from emulator.bridge_main import BridgeSettings, bridge_routes
from emulator.errors import StartError
from emulator.httpd import LoopbackServer, json_reply, text_reply
from emulator.oidc.remote import remote_tokens
from emulator.topology import load_topology

BASE = {"PUBSUB_EMULATOR_HOST": "127.0.0.1:8085", "GCP_PROJECT": "mesh-local"}
REAL = Path(__file__).parents[2] / "infra" / "roles.json"


@pytest.mark.parametrize("missing", BASE)
def test_address_and_project_are_required(missing: str) -> None:
    given = {name: text for name, text in BASE.items() if name != missing}
    with pytest.raises(StartError, match=r"PUBSUB_EMULATOR_HOST .* GCP_PROJECT"):
        BridgeSettings.from_environment(given)


@pytest.mark.parametrize("urls", ["{", "[]"])
def test_role_urls_must_be_a_json_object(urls: str) -> None:
    with pytest.raises(StartError, match="ROLE_URLS must be a JSON object"):
        BridgeSettings.from_environment({**BASE, "ROLE_URLS": urls})


def test_the_variables_of_the_original_bridge_lead_to_its_endpoints() -> None:
    settings = BridgeSettings.from_environment(
        {
            **BASE,
            "AGENT_PUSH_URL": "http://localhost:8082/custom/push",
            "ORCH_RESULTS_URL": "http://localhost:8081/pubsub/results",
            "RESULTS_PUBSUB_AUDIENCE": "https://orchestrator.example",
        }
    )
    used = {route.name: route.target for route in bridge_routes(load_topology(REAL), settings)}
    assert used["tasks-light"].endpoint == "http://localhost:8082/custom/push"
    assert used["tasks-light"].audience == "http://localhost:8082"
    assert used["results"].endpoint == "http://localhost:8081/pubsub/results"
    assert used["results"].audience == "https://orchestrator.example"
    assert used["tasks-dead"].endpoint == "http://localhost:8081/pubsub/dead"
    assert "tasks-digest" not in used


def test_the_token_url_is_the_issuers_unless_given() -> None:
    assert BridgeSettings.from_environment(BASE).token_url == ""
    assert BridgeSettings.from_environment({**BASE, "OIDC_ISSUER": "http://i"}).token_url == "http://i/token"


def test_tokens_come_over_http() -> None:
    with LoopbackServer(lambda request: json_reply({"id_token": f"{request.query['email']}!"})) as server:
        assert remote_tokens(server.url)("a", "e") == "e!"
    with (
        LoopbackServer(lambda _: text_reply("no", status=HTTPStatus.FORBIDDEN)) as server,
        pytest.raises(StartError, match="answered 403 instead of a token"),
    ):
        remote_tokens(server.url)("a", "e")
