"""The dashboard's function in this process: a real issuer, a real Firestore, and browsers with their cookies."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc
import pytest
import urllib3
from flask.testing import FlaskClient
from google.pubsub_v1 import PublisherClient, Topic
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from werkzeug.test import TestResponse

from agent_mesh.dashboard.dashboard import Dashboard
from agent_mesh.dashboard.routes import dashboard_app
from agent_mesh.platform.app import FunctionApp
from agent_mesh.platform.certificates import CertificateStore
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.oidc import TokenVerifier
from agent_mesh.platform.settings import Settings
from emulator.oidc.issuer import Issuer
from emulator.oidc.keys import SigningKey
from tests.conftest import CloudAddresses, HandClock, RecordingPublisher

ORIGIN = "http://127.0.0.1:8080"
OPERATOR = "olga@example.com"
VIEWER = "Vera@example.com"
STRANGER = "sam@example.com"
KEY = "a-session-key-of-32-characters-or-more"

HTTP = urllib3.PoolManager()


@dataclass
class Browser:
    """Somebody's browser: it keeps cookies, and goes where it is sent."""

    client: FlaskClient
    origin: str = ORIGIN

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.ask("GET", path, **headers)

    def ask(self, method: str, path: str, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.client.open(path, method=method, headers=named, base_url=self.origin)

    def begin(self, **query: str) -> str:
        """Begin to sign in; return the issuer's address."""
        answer = self.client.get("/auth/login", query_string=query, base_url=self.origin)
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    def sign_in(self, email: str = OPERATOR, **query: str) -> TestResponse:
        """Sign in as this account; return the answer to the way back."""
        return self.get(come_back(self.begin(prompt="none", login_hint=email, **query)))

    @property
    def signed_in(self) -> bool:
        return self.get("/api/session").status_code == 200

    def cookie(self, name: str) -> str | None:
        found = self.client.get_cookie(name, domain=str(urlsplit(self.origin).hostname))
        return found.value if found else None

    def plant(self, name: str, text: str) -> None:
        self.client.set_cookie(name, text, domain=str(urlsplit(self.origin).hostname))


def come_back(address: str) -> str:
    """Ask the issuer as a browser does, and return the path to which it sends back."""
    answer = HTTP.request("GET", address, redirect=False)
    assert answer.status == 302, answer.data
    target = urlsplit(answer.headers["Location"])
    return f"{target.path}?{target.query}"


def query_of(address: str) -> dict[str, str]:
    return {name: text for name, (text,) in parse_qs(urlsplit(address).query).items()}


@dataclass
class DashboardInHand:
    """One dashboard, and what it stands on."""

    app: FunctionApp
    board: Dashboard
    parts: FunctionParts
    issuer: Issuer
    clock: HandClock
    publisher: RecordingPublisher

    def browser(self) -> Browser:
        """Return a new browser without cookies."""
        return Browser(self.app.flask.test_client(), self.parts.settings.dashboard_url or ORIGIN)

    def with_cookie(self, cookie: str) -> TestResponse:
        """Ask who is signed in, with this Cookie header as it is."""
        client = self.app.flask.test_client(use_cookies=False)
        return client.get("/api/session", headers={"Cookie": cookie}, base_url=ORIGIN)

    def viewer(self, email: str = OPERATOR) -> Browser:
        """Return a browser in which somebody is signed in."""
        browser = self.browser()
        assert browser.sign_in(email).status_code == 303
        return browser

    def token(self, email: str, audience: str = ORIGIN) -> str:
        return f"Bearer {self.issuer.mint(audience, email)}"


@pytest.fixture(scope="session")
def issuer_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.load_or_create(tmp_path_factory.mktemp("issuer") / "key.pem")


@pytest.fixture
def issuer(issuer_key: SigningKey, clock: HandClock) -> Iterator[Issuer]:
    with Issuer(issuer_key, clock=clock.now, usual=OPERATOR) as running:
        yield running


MakeDashboard = Callable[..., DashboardInHand]


@pytest.fixture(scope="session")
def project(local_cloud: CloudAddresses) -> str:
    """A project whose Pub/Sub has the topic between instances of the relay."""
    name = f"dashboard-{secrets.token_hex(4)}"
    with grpc.insecure_channel(local_cloud.pubsub) as channel:
        transport = PublisherGrpcTransport(channel=channel)
        PublisherClient(transport=transport).create_topic(Topic(name=f"projects/{name}/topics/relay"))
    return name


@pytest.fixture
def make_dashboard(
    issuer: Issuer, database: FirestoreClient, publisher: RecordingPublisher, clock: HandClock, project: str
) -> Iterator[MakeDashboard]:
    """Make a dashboard with other settings than the usual."""
    boards: list[Dashboard] = []

    def make(**changes: Any) -> DashboardInHand:
        given = {
            "project": project,
            "oidc_issuer": issuer.url,
            "oidc_audiences": (ORIGIN, "http://elsewhere.example.com"),
            "operators": (OPERATOR,),
            "viewers": (VIEWER,),
            "sign_in_url": issuer.authorize_url,
            "sign_in_token_url": issuer.token_url,
            "sign_in_client_id": "dashboard",
            "sign_in_client_secret": "kept",
            "session_keys": (KEY,),
        }
        settings = Settings.model_validate(given | changes)
        verifier = TokenVerifier(CertificateStore(issuer.certs_url, clock=clock), issuers=[issuer.url], clock=clock)
        events = EventLog(publisher, "projects/test/topics/events", "dashboard", clock)
        parts = FunctionParts(settings, database, publisher, verifier, events, clock)
        boards.append(Dashboard(parts))
        return DashboardInHand(dashboard_app(parts, boards[-1]), boards[-1], parts, issuer, clock, publisher)

    yield make
    for board in boards:
        board.relay.close()


@pytest.fixture
def dashboard(make_dashboard: MakeDashboard) -> DashboardInHand:
    """A dashboard with the usual settings."""
    return make_dashboard()
