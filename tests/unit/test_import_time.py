"""What a cold start pays for: the packages that importing a function brings in, as a list that says why."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.import_time import ROOT, imported_by, run_python

FUNCTIONS = sorted((ROOT / "functions").glob("*/main.py"))

ALLOWED = {
    # functions-framework and its server side
    "blinker", "click", "cloudevents", "deprecation", "flask", "functions_framework", "itsdangerous", "jinja2",
    "markupsafe", "packaging", "werkzeug",
    # google-cloud-firestore and the generated Pub/Sub client, which import requests, cryptography and grpc themselves
    "certifi", "charset_normalizer", "cryptography", "cython_runtime", "google", "grpc", "grpc_status", "idna",
    "opentelemetry", "proto", "requests", "urllib3",
    "grpc_tools", # grpc imports it where it is installed: for development, in no function
    # the policy engine, which has to be there before grpc
    "regopy",
    # our own choice: contracts and the OpenAPI document
    "annotated_types", "flask_openapi3", "flask_openapi3_swagger", "pydantic", "pydantic_core", "typing_extensions",
    "typing_inspection",
}  # fmt: skip

LAZY_OR_NEVER = {
    "agent_mesh.cli",
    "agent_mesh.client",
    "google.auth.impersonated_credentials",
    "google.cloud.kms",
    "google.cloud.pubsub_v1",  # the hand-written client: it batches, which costs 12 ms a message
    "google.oauth2.id_token",
    "opentelemetry.sdk",
    "rich",
    "typer",
    "unittest",
}

ANOTHER_ROLES = {
    "audit": {"agent_mesh.agents", "agent_mesh.dispatch", "agent_mesh.deadletters", "agent_mesh.policy"},
    "agent_light": {"agent_mesh.dispatch", "agent_mesh.deadletters"},
    "orchestrator": {"agent_mesh.agents.sdk", "agent_mesh.agents.execution"},
}


def packages(modules: list[str]) -> set[str]:
    """Top-level names that are neither the standard library's, nor ours, nor an extension's private part."""
    names = {module.partition(".")[0] for module in modules}
    return {name for name in names if not name.startswith("_")} - sys.stdlib_module_names - {"agent_mesh", "main"}


def found(unwanted: set[str], modules: list[str]) -> set[str]:
    return {name for name in unwanted if any(f"{module}.".startswith(f"{name}.") for module in modules)}


@pytest.fixture(scope="module", params=FUNCTIONS, ids=[main.parent.name for main in FUNCTIONS])
def imported(request: pytest.FixtureRequest) -> tuple[str, list[str]]:
    """A function's role, and the modules that its import brings into a fresh interpreter."""
    main: Path = request.param
    return main.parent.name, imported_by(main)


def test_a_function_imports_no_package_that_is_not_on_the_list(imported: tuple[str, list[str]]) -> None:
    _, modules = imported
    assert packages(modules) <= ALLOWED


def test_a_function_imports_nothing_heavy_before_it_is_needed(imported: tuple[str, list[str]]) -> None:
    _, modules = imported
    assert found(LAZY_OR_NEVER, modules) == set()


def test_the_policy_engine_is_loaded_before_grpc_wherever_policy_is_asked(imported: tuple[str, list[str]]) -> None:
    """Loaded after it, regopy 1.5.2 loses 3 kB with every decision, until the instance has no memory left."""
    _, modules = imported
    if "agent_mesh.policy.engine" in modules:
        assert modules.index("regopy") < modules.index("grpc")


def test_decisions_leave_nothing_in_memory() -> None:
    script = """
import regopy, grpc
from agent_mesh.policy import Policy, packaged_bundle
def kilobytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4
policy, value = Policy(packaged_bundle("mesh")), {"subject": {}, "resource": {}, "context": {}}
for _ in range(1000):
    policy.decide("access", value)
before = kilobytes()
for _ in range(3000):
    policy.decide("access", value)
print(kilobytes() - before)
"""
    assert int(run_python(script)) < 2000


def test_a_function_imports_no_other_roles_work(imported: tuple[str, list[str]]) -> None:
    role, modules = imported
    assert found(ANOTHER_ROLES.get(role, set()), modules) == set()


def test_wiring_a_function_describes_no_route_before_the_document_is_asked_for(tmp_path: Path) -> None:
    script = """
import sys, pydantic
from agent_mesh.dispatch.routes import orchestrator_app
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.settings import Settings
described = []
real = pydantic.BaseModel.model_json_schema.__func__
pydantic.BaseModel.model_json_schema = classmethod(lambda cls, **given: described.append(cls) or real(cls, **given))
app = orchestrator_app(FunctionParts.for_role("orchestrator", Settings.from_environment()))
wired = len(described)
app.flask.test_client().get("/openapi.json")
print(wired, len(described) > 0)
"""
    assert run_python(script).split() == ["0", "True"]


def test_the_commands_help_imports_no_google_client() -> None:
    script = """
import contextlib, io, json, sys
sys.argv = ["agent-mesh", "--help"]
from agent_mesh.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print(json.dumps(list(sys.modules)))
"""
    modules = json.loads(run_python(script))
    assert "agent_mesh.cli" in modules
    namespaces = set(json.loads(run_python("import json, sys; print(json.dumps(list(sys.modules)))")))
    assert {module for module in modules if module.startswith("google.")} <= namespaces  # a .pth file declares them
    assert found({"grpc", "flask", "functions_framework"}, modules) == set()
