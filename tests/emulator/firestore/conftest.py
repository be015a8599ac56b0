from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from emulator.firestore.options import FirestoreOptions
from emulator.firestore.server import FirestoreServer
from tests.emulator.firestore.raw import RawFirestore

Serve = Callable[..., FirestoreServer]


@pytest.fixture(scope="session")
def shared_server() -> Iterator[FirestoreServer]:
    """One server with the default options; each test has a database of its own in it."""
    with FirestoreServer() as server:
        yield server


@pytest.fixture
def firestore(shared_server: FirestoreServer) -> Iterator[RawFirestore]:
    """An empty database."""
    client = RawFirestore(shared_server.address, f"test-{secrets.token_hex(4)}")
    yield client
    client.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers with options of the test's own."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(FirestoreServer(FirestoreOptions(**options)))


@pytest.fixture
def connect() -> Iterator[Callable[[FirestoreServer], RawFirestore]]:
    """Connect to such a server."""
    with ExitStack() as stack:

        def client(server: FirestoreServer) -> RawFirestore:
            made = RawFirestore(server.address, "test")
            stack.callback(made.close)
            return made

        yield client
