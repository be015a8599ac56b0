"""Signing in at the issuer, and every way in which that may not be turned against somebody."""

from __future__ import annotations

from http.cookies import SimpleCookie
from urllib.parse import urlsplit

import pytest

from agent_mesh.dashboard._sign_in import ATTEMPT_SECONDS
from agent_mesh.platform.settings import Settings, SettingsError
from emulator.httpd import LoopbackServer, json_reply
from emulator.oidc.issuer import Issuer
from tests.unit.dashboard.conftest import (
    KEY,
    OPERATOR,
    ORIGIN,
    STRANGER,
    VIEWER,
    DashboardInHand,
    MakeDashboard,
    come_back,
    query_of,
)

SESSION = "mesh-session"
ATTEMPT = "mesh-sign-in"


def test_a_person_signs_in_and_is_where_they_wanted_to_be(dashboard: DashboardInHand) -> None:
    browser = dashboard.browser()
    assert browser.get("/api/session").status_code == 401
    answer = browser.sign_in(OPERATOR, next="/tx/t1?kind=task")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{ORIGIN}/tx/t1?kind=task")
    session = browser.get("/api/session")
    assert session.json is not None
    assert session.json["email"] == OPERATOR
    assert session.json["groups"] == ["operators"]
    assert session.json["signed_in_until"] == int(dashboard.clock.now()) + 8 * 3600


def test_the_issuer_is_asked_with_pkce_state_and_nonce_and_each_time_with_others(dashboard: DashboardInHand) -> None:
    first, second = (query_of(dashboard.browser().begin()) for _ in range(2))
    assert first["response_type"] == "code"
    assert first["scope"] == "openid email"
    assert first["redirect_uri"] == f"{ORIGIN}/auth/callback"
    assert first["code_challenge_method"] == "S256"
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) == 43
        assert first[name] != second[name]
    assert "kept" not in str(first), "the client's secret never goes through a browser"


def test_the_session_cookie_is_for_this_host_and_no_script(dashboard: DashboardInHand) -> None:
    cookies = SimpleCookie("\n".join(dashboard.browser().sign_in().headers.getlist("Set-Cookie")))
    session = SimpleCookie(dashboard.browser().sign_in().headers.getlist("Set-Cookie")[-1])[SESSION]
    assert session["httponly"]
    assert (session["path"], session["domain"], session["samesite"]) == ("/", "", "Lax")
    assert int(session["max-age"]) == 8 * 3600
    assert OPERATOR not in str(cookies), "a proxy's log need not tell who it was"


def test_over_https_cookies_are_bound_to_host_and_transport(make_dashboard: MakeDashboard) -> None:
    board = make_dashboard(dashboard_url="https://dashboard.example.com")
    browser = board.browser()
    begun = browser.get("/auth/login")
    assert begun.headers["Strict-Transport-Security"].startswith("max-age=")
    (attempt,) = begun.headers.getlist("Set-Cookie")
    assert attempt.startswith("__Host-mesh-sign-in=")
    for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert attribute in attempt.split("; ")
    assert "domain" not in attempt.lower()
    assert query_of(begun.headers["Location"])["redirect_uri"] == "https://dashboard.example.com/auth/callback"


def test_a_way_back_is_good_once(dashboard: DashboardInHand) -> None:
    browser = dashboard.browser()
    way = come_back(browser.begin(prompt="none"))
    attempt = browser.cookie(ATTEMPT)
    assert browser.get(way).status_code == 303
    browser.ask("POST", "/auth/logout")
    assert browser.get(way).status_code == 400, "the attempt is over"
    assert attempt is not None
    browser.plant(ATTEMPT, attempt)
    assert browser.get(way).status_code == 400, "the code was used"
    assert not browser.signed_in


def test_nobody_is_signed_in_by_somebody_elses_way_back(dashboard: DashboardInHand) -> None:
    attackers = come_back(dashboard.browser().begin(prompt="none", login_hint=OPERATOR))
    victim = dashboard.browser()
    assert victim.get(attackers).status_code == 400
    victim.begin()
    assert victim.get(attackers).status_code == 400
    assert not victim.signed_in


def test_a_code_of_another_attempt_proves_nothing(dashboard: DashboardInHand) -> None:
    stolen = query_of(come_back(dashboard.browser().begin(prompt="none", login_hint=OPERATOR)))["code"]
    thief = dashboard.browser()
    state = query_of(thief.begin())["state"]
    assert thief.get(f"/auth/callback?state={state}&code={stolen}").status_code == 400
    assert not thief.signed_in


def test_an_attempt_ends_after_ten_minutes(dashboard: DashboardInHand) -> None:
    browser = dashboard.browser()
    address = browser.begin(prompt="none")
    dashboard.clock.advance(ATTEMPT_SECONDS)
    assert browser.get(come_back(address)).status_code == 400
    assert not browser.signed_in


@pytest.mark.parametrize("answer", ["error=access_denied", "error=server_error", "code=", "", "code=made-up&extra=1"])
def test_a_sign_in_that_fails_says_so_and_offers_another(dashboard: DashboardInHand, answer: str) -> None:
    browser = dashboard.browser()
    state = query_of(browser.begin())["state"]
    page = browser.get(f"/auth/callback?state={state}&{answer}")
    assert page.status_code == 400
    assert page.content_type == "text/html; charset=utf-8"
    assert 'href="/auth/login"' in page.text
    assert "<script" not in page.text
    assert not browser.signed_in


@pytest.mark.parametrize(
    "query", ["", "state=", "state=%ff%00&code=%00", "state=%ED%A0%80&code=x", "code=x", "error=x"]
)
def test_a_made_up_way_back_is_no_500(dashboard: DashboardInHand, query: str) -> None:
    browser = dashboard.browser()
    assert browser.get(f"/auth/callback?{query}").status_code == 400
    browser.begin()
    assert browser.get(f"/auth/callback?{query}").status_code == 400


def test_an_issuer_that_cannot_be_reached_is_no_500(make_dashboard: MakeDashboard) -> None:
    board = make_dashboard(sign_in_token_url="http://127.0.0.1:9/token")
    answer = board.browser().sign_in()
    assert answer.status_code == 503
    assert "try again" in answer.text


def test_an_issuer_that_answers_something_else_is_no_500(make_dashboard: MakeDashboard) -> None:
    other = make_dashboard()
    for path in ("/healthz", "/nothing", "/oauth2/v1/certs"):
        board = make_dashboard(sign_in_token_url=other.issuer.url + path)
        assert board.browser().sign_in().status_code in {400, 503}


def test_a_token_for_another_client_or_sign_in_signs_nobody_in(make_dashboard: MakeDashboard, issuer: Issuer) -> None:
    for client in ("another", "dashboard"):  # neither has the nonce
        answer = json_reply({"id_token": issuer.mint(client, OPERATOR)})
        with LoopbackServer(lambda _request, answer=answer: answer) as token_endpoint:  # type: ignore[misc]
            browser = make_dashboard(sign_in_token_url=token_endpoint.url).browser()
            assert browser.sign_in().status_code == 400
            assert not browser.signed_in


def test_a_stranger_sees_a_page_that_helps_and_is_not_signed_in(dashboard: DashboardInHand) -> None:
    browser = dashboard.browser()
    page = browser.sign_in("sam<b>@example.com", next="/tx/t1")
    assert page.status_code == 403
    assert "sam&lt;b&gt;@example.com" in page.text
    assert "prompt=select_account" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert browser.cookie(SESSION) is None


def test_the_lists_are_asked_at_every_request(make_dashboard: MakeDashboard) -> None:
    before = make_dashboard(viewers=(VIEWER, STRANGER))
    session = before.viewer(STRANGER).cookie(SESSION)
    assert session is not None
    after = make_dashboard()
    browser = after.browser()
    browser.plant(SESSION, session)
    refused = browser.get("/api/session")
    assert refused.status_code == 403
    assert refused.json is not None
    assert refused.json["code"] == "forbidden"
    assert STRANGER in refused.json["detail"]


def test_a_viewer_is_in_the_viewers_group_whatever_the_case_of_the_address(dashboard: DashboardInHand) -> None:
    session = dashboard.viewer(VIEWER.lower()).get("/api/session")
    assert session.json is not None
    assert session.json["groups"] == ["viewers"]


def test_a_session_ends(dashboard: DashboardInHand) -> None:
    browser = dashboard.viewer()
    dashboard.clock.advance(8 * 3600 - 1)
    session = browser.cookie(SESSION)
    assert session is not None
    assert browser.signed_in
    dashboard.clock.advance(1)
    browser.plant(SESSION, session)
    assert not browser.signed_in


def test_forged_sessions_are_nobodys(dashboard: DashboardInHand, make_dashboard: MakeDashboard) -> None:
    browser = dashboard.browser()
    browser.begin()
    attempt, session = browser.cookie(ATTEMPT), dashboard.viewer().cookie(SESSION)
    other = make_dashboard(session_keys=("another-key-of-32-characters-or-more",)).viewer().cookie(SESSION)
    assert attempt
    assert session
    assert other
    body, _, signature = session.rpartition(".")
    forged = [
        attempt,  # signed by us, for another purpose
        other,
        body,
        f"{body}.",
        f"{body}.{signature[:-1]}",
        f".{session}",
        f"{body[:-2]}AA.{signature}",
        session.swapcase(),
        f"{session}{session}",
        "." * 100,
        "x" * 100_000,
        "\u00ff\u00fe",
        "eyJlbWFpbCI6Im9sZ2FAZXhhbXBsZS5jb20ifQ",
        "null",
        "[]",
    ]
    for text in forged:
        answer = dashboard.with_cookie(f"{SESSION}={text}")
        assert answer.status_code == 401, text[:80]
        assert answer.json is not None
        assert answer.json["code"] == "unauthenticated"
    assert dashboard.with_cookie(f"{SESSION}={session}").status_code == 200


def test_keys_are_exchanged_without_signing_anybody_out(make_dashboard: MakeDashboard) -> None:
    new = "the-next-key-of-32-characters-or-more"
    old_session = make_dashboard(session_keys=(KEY,)).viewer().cookie(SESSION)
    for keys, status in (((new, KEY), 200), ((new,), 401)):
        board = make_dashboard(session_keys=keys)
        assert board.with_cookie(f"{SESSION}={old_session}").status_code == status
    new_session = make_dashboard(session_keys=(new, KEY)).viewer().cookie(SESSION)
    board = make_dashboard(session_keys=(new,))
    assert board.with_cookie(f"{SESSION}={new_session}").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "///evil.example",
        "/\t/evil.example",
        "/%0d%0aLocation: x",
        "/a\r\nSet-Cookie: x=y",
        "javascript:alert(1)",
        "tx/1",
        "",
        "/é",
        "/auth/login",
        "/api/session",
        "/" + "x" * 1500,
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(dashboard: DashboardInHand, wanted: str) -> None:
    answer = dashboard.browser().sign_in(next=wanted)
    assert answer.status_code == 303
    target = urlsplit(answer.headers["Location"])
    assert f"{target.scheme}://{target.netloc}" == ORIGIN
    assert target.path in {"/", "/%0d%0aLocation"} or wanted.startswith("/%0d")


def test_signing_out_is_for_the_own_page_alone(dashboard: DashboardInHand) -> None:
    browser = dashboard.viewer()
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
        assert browser.ask("POST", "/auth/logout", **headers).status_code == 403
        assert browser.signed_in
    assert browser.get("/auth/logout").status_code == 405
    answer = browser.ask("POST", "/auth/logout", Origin=ORIGIN, Sec_Fetch_Site="same-origin")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{ORIGIN}/")
    assert not browser.signed_in


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_pages_use_nobodys_session(dashboard: DashboardInHand, site: str) -> None:
    browser = dashboard.viewer()
    assert browser.get("/api/session", Sec_Fetch_Site=site).status_code == 401
    assert browser.get("/api/session", Sec_Fetch_Site="same-origin").status_code == 200


def test_another_host_name_changes_nothing_of_the_way_to_the_issuer(dashboard: DashboardInHand) -> None:
    browser = dashboard.browser()
    for alias in ("localhost:8080", "elsewhere.example.com", "evil.example"):
        sent_on = browser.get("/auth/login?next=/tx/1", Host=alias)
        assert (sent_on.status_code, sent_on.headers["Location"]) == (303, f"{ORIGIN}/auth/login?next=/tx/1&here=true")
        assert "Set-Cookie" not in sent_on.headers
        answer = browser.get("/auth/login?next=/tx/1&here=true", Host=alias)
        assert query_of(answer.headers["Location"])["redirect_uri"] == f"{ORIGIN}/auth/callback", "and in no circle"


@pytest.mark.parametrize(
    "missing", [{"sign_in_client_id": ""}, {"sign_in_client_secret": ""}, {"session_keys": ()}, {"oidc_audiences": ()}]
)
def test_a_dashboard_without_a_client_says_what_it_lacks(
    make_dashboard: MakeDashboard, missing: dict[str, str]
) -> None:
    page = make_dashboard(**missing).browser().get("/auth/login")
    assert page.status_code == 503
    assert "SIGN_IN_CLIENT_ID" in page.text


def test_programs_come_in_with_an_id_token(dashboard: DashboardInHand) -> None:
    browser = dashboard.browser()
    session = browser.get("/api/session", Authorization=dashboard.token(VIEWER))
    assert session.json is not None
    assert (session.json["email"], "signed_in_until" in session.json) == (VIEWER, False)
    assert browser.get("/api/session", Authorization=dashboard.token(STRANGER)).status_code == 403
    for audience in ("http://other.example.com", "dashboard"):
        assert browser.get("/api/session", Authorization=dashboard.token(OPERATOR, audience)).status_code == 401


def test_an_authorization_header_that_is_wrong_is_not_saved_by_a_cookie(dashboard: DashboardInHand) -> None:
    assert dashboard.viewer().get("/api/session", Authorization="Bearer a.b.c").status_code == 401


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"SESSION_KEYS": "short"}, "SESSION_KEYS"),
        ({"SESSION_KEYS": "local-development-only-session-key", "K_SERVICE": "dashboard"}, "SESSION_KEYS"),
        ({"DASHBOARD_URL": "https://example.com/dashboard"}, "DASHBOARD_URL"),
        ({"DASHBOARD_URL": "http://example.com", "K_SERVICE": "dashboard"}, "DASHBOARD_URL"),
        ({"SESSION_SECONDS": "86400"}, "SESSION_SECONDS"),
    ],
)
def test_settings_that_would_not_be_safe_stop_the_start(changes: dict[str, str], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        Settings.from_environment({"GCP_PROJECT": "p", **changes})
