"""What everybody gets without signing in: the page's files, and nothing beside them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from agent_mesh.dashboard._static import StaticFiles
from tests.unit.dashboard.conftest import ORIGIN, DashboardInHand, MakeDashboard

PAGES = ("/", "/tx/t1", "/tx/urn:a/b%20c", "/tx/%3Cscript%3E")


def test_every_page_is_the_same_shell_under_a_strict_policy(dashboard: DashboardInHand) -> None:
    browser = dashboard.browser()
    page = browser.get("/")
    for path in PAGES:
        other = browser.get(path)
        assert (other.status_code, other.content_type) == (200, "text/html; charset=utf-8")
        assert other.data == page.data
        assert other.headers["Content-Security-Policy"] == page.headers["Content-Security-Policy"]
    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src", "form-action")} == {"'self'"}
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"


def test_every_answer_has_the_headers_that_keep_others_out(dashboard: DashboardInHand) -> None:
    for path in (*PAGES, "/static/none.js", "/api/session", "/auth/callback", "/nothing", "/docs", "/swagger"):
        answer = dashboard.browser().get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in answer.headers, "this one is served without TLS"


def test_what_is_told_to_one_person_is_kept_by_no_cache(dashboard: DashboardInHand) -> None:
    answer = dashboard.viewer().get("/api/session")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Cookie" in answer.headers["Vary"]


def test_a_file_that_the_browser_has_is_not_sent_again(dashboard: DashboardInHand) -> None:
    browser = dashboard.browser()
    first = browser.get("/")
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "no-cache"
    for known in (etag, f'"other", W/{etag}', "*"):
        again = browser.get("/", If_None_Match=known)
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    assert browser.get("/", If_None_Match='"other"').status_code == 200


OUTSIDE = (
    "/static/",
    "/static/nothing.js",
    "/static/../routes.py",
    "/static/..%2froutes.py",
    "/static/%2e%2e/routes.py",
    "/static/....//routes.py",
    "/static//etc/passwd",
    "/static/%00",
    "/static/index.html%00.js",
    "/static/" + "x" * 5000,
    "/static/\\..\\routes.py",
)


def test_no_path_leads_out_of_the_folder(dashboard: DashboardInHand) -> None:
    for path in OUTSIDE:
        answer = dashboard.browser().get(path)
        if answer.status_code == 308:  # of two slashes one is left out
            assert answer.headers["Location"].startswith((f"{ORIGIN}/static/", "/static/"))
        else:
            assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found"), path


def test_a_files_type_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("index.html", "app.js", "deep/base.css", "icon.svg", "strange"):
        (tmp_path / name).write_text(name)
    files = StaticFiles(tmp_path)
    kinds = {
        name: found.content_type
        for name in ("app.js", "deep/base.css", "icon.svg", "strange")
        if (found := files.get(name))
    }
    assert kinds == {
        "app.js": "text/javascript; charset=utf-8",
        "deep/base.css": "text/css; charset=utf-8",
        "icon.svg": "image/svg+xml",
        "strange": "application/octet-stream",
    }
    assert files.get("deep") is None
    assert files.get("../" + tmp_path.name + "/index.html") is None


def test_other_methods_are_answered_and_open_nothing(dashboard: DashboardInHand) -> None:
    paths = ("/", "/tx/1", "/auth/login", "/api/session", "/api/stream?topic=**", "/api/tx/1", "/static/main.js")
    for method, path in product(("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "POST"), paths):
        answer = dashboard.browser().ask(method, path)
        expected = {401, 405} if path.startswith("/api/") else {200, 303, 405}
        assert answer.status_code in expected, (method, path)


def test_a_page_under_another_of_its_names_goes_to_the_one_where_people_sign_in(dashboard: DashboardInHand) -> None:
    browser = dashboard.browser()
    for alias in ("localhost:8080", "elsewhere.example.com"):
        answer = browser.get("/tx/t1?q=%C3%A9", Host=alias)
        assert (answer.status_code, answer.headers["Location"]) == (303, f"{ORIGIN}/tx/t1?q=%C3%A9")
    for host in ("evil.example", "127.0.0.1:9999"):
        assert browser.get("/", Host=host).status_code == 200, "nobody is sent to a name that a stranger chose"


def test_a_host_that_is_none_is_no_500(dashboard: DashboardInHand) -> None:
    for host in ("", "a b", "é", "[::1", "x" * 3000, "evil.example\\@127.0.0.1:8080"):
        for path in ("/", "/auth/login", "/auth/callback"):
            assert dashboard.browser().get(path, Host=host).status_code < 500, host


def test_without_a_known_origin_pages_are_served_where_they_are_asked_for(make_dashboard: MakeDashboard) -> None:
    board = make_dashboard(oidc_audiences=("https://region-project.cloudfunctions.net/dashboard",))
    assert board.browser().get("/").status_code == 200
