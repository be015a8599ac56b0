from __future__ import annotations

import http.client
from contextlib import closing

import pytest

from tests.emulator.console.conftest import Caller

PATHS = ["/", "/main.js", "/_local/stack", "/_local/topics"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:80"]
)
def test_another_host_name_is_refused(caller: Caller, path: str, host: str) -> None:
    """What a page sees whose name was made to resolve to this machine."""
    port = caller.address.partition(":")[2]
    assert caller.get(path, Host=host.format(port=port)).status == 403


def test_a_request_without_a_host_is_refused(caller: Caller) -> None:
    with closing(http.client.HTTPConnection(caller.address, timeout=5)) as connection:
        connection.putrequest("GET", "/_local/stack", skip_host=True)
        connection.endheaders()
        assert connection.getresponse().status == 403


@pytest.mark.parametrize("path", PATHS)
def test_both_names_of_this_machine_are_good(caller: Caller, path: str) -> None:
    port = caller.address.partition(":")[2]
    assert caller.get(path, Host=f"localhost:{port}", Origin=f"http://localhost:{port}").status == 200
    assert caller.get(path, Origin=caller.console.url, Sec_Fetch_Site="same-origin").status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_pages_of_other_origins_are_refused(caller: Caller, origin: str) -> None:
    refused = caller.get("/_local/stack", Origin=origin)
    assert refused.status == 403
    assert "may not use the console" in refused.error
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert caller.post("/_local/reset", {}, Origin=origin).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_that_carry_no_origin_are_told_by_their_site(caller: Caller, site: str) -> None:
    assert caller.get("/_local/messages?topic=work", Sec_Fetch_Site=site).status == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_can_send_changes_nothing(caller: Caller, kind: str) -> None:
    refused = caller.post("/_local/reset", {}, **{"Content-Type": kind})
    assert refused.status == 415
    assert "application/json" in refused.error


def test_a_link_from_elsewhere_leads_to_the_page(caller: Caller) -> None:
    assert caller.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200


def test_no_preflight_is_answered(caller: Caller) -> None:
    answer = caller.ask("OPTIONS", "/_local/reset", None, {"Origin": "http://evil.example"})
    assert answer.status == 501
    assert not any(name.startswith("Access-Control") for name in answer.headers)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/_local/reset", 405),
        ("POST", "/_local/documents", 405),
        ("GET", "/_local/", 404),
        ("GET", "/_local/nothing", 404),
        ("POST", "/", 405),
    ],
)
def test_an_unknown_path_or_method_is_refused(caller: Caller, method: str, path: str, status: int) -> None:
    refused = caller.ask(method, path, b"{}", {"Content-Type": "application/json"})
    assert refused.status == status
    assert path in refused.error
