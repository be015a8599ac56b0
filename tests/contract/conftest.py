"""One local stack for all contract tests; it ends with the last of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import firestore

from emulator.stack import LocalStack, StackOptions
from tests.contract.mesh import Mesh
from tests.contract.receiver import Receiver
from tests.contract.roles import TEST_AGENTS, roles_document


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    """The one host that callbacks may reach."""
    with Receiver() as listening:
        yield listening


@pytest.fixture(scope="package")
def stack_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stack; its state is in `.mesh`."""
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="package")
def stack(stack_place: Path, receiver: Receiver) -> Iterator[LocalStack]:
    """The running stack."""
    roles, starts = stack_place / "roles.json", stack_place / "starts"
    roles.write_text(json.dumps(roles_document(receiver.host)))
    starts.mkdir()
    counting = {name: {"CONTRACT_STARTS": str(starts)} for name in TEST_AGENTS}
    options = StackOptions(state_dir=stack_place / ".mesh", roles_file=roles, environment=counting)
    with LocalStack(options) as running:
        yield running


@pytest.fixture(scope="package")
def mesh(stack: LocalStack, stack_place: Path) -> Iterator[Mesh]:
    """The running stack as a client sees it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", stack.firestore)
        database = firestore.Client(project=stack.project)
    asking = Mesh(stack, stack_place / "starts", database)
    yield asking
    asking.close()
