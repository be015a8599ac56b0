"""schemathesis over every function's OpenAPI document, with tokens that open the doors: never a 5xx."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from tests.contract.mesh import Mesh
from tests.contract.roles import ROLES

EXAMPLES = {GenerationMode.POSITIVE: 15, GenerationMode.NEGATIVE: 10}
QUICK = settings(database=None, derandomize=True, suppress_health_check=list(HealthCheck))


def tamed(body: Any) -> Any:
    """A sweep is not asked to stay; half of the agents are one that is there."""
    if not isinstance(body, dict):
        return body
    changed = {name: 0 if name == "waitSeconds" and isinstance(value, int) else value for name, value in body.items()}
    if isinstance(body.get("agent"), str) and len(body["agent"]) % 2:
        changed["agent"] = "light"
    return changed


def probe(mesh: Mesh, role: str, operation: Any, mode: GenerationMode) -> None:
    """Send generated cases of one operation as whoever may call it."""
    url = mesh.stack.url(role)
    who = mesh.pushers.get(url + operation.path, mesh.developer)
    headers = {"Authorization": mesh.bearer(role, who)}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(QUICK, max_examples=EXAMPLES[mode])
    def never_breaks(case: Any) -> None:
        case.body = tamed(case.body)
        answer = case.call(base_url=url, headers=headers)
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)
        if answer.status_code >= 400 and "%0a" not in answer.request.url.lower():  # functions-framework's own 404
            assert answer.headers["content-type"][0] == "application/problem+json", (
                case.as_curl_command(),
                answer.text,
            )

    never_breaks()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("role", ROLES)
def test_nothing_that_the_document_allows_or_forbids_is_a_5xx(mesh: Mesh, role: str, mode: GenerationMode) -> None:
    document = mesh.request("GET", "/openapi.json", role=role).json
    schema = schemathesis.openapi.from_dict(document)
    probed = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters:
            probe(mesh, role, operation, mode)
            probed += 1
    assert probed
