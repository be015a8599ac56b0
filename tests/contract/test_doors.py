"""Who gets in: every endpoint of every function, as the functions' own OpenAPI documents name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.oidc.keys import SigningKey
from tests.contract.mesh import STRANGER, Answer, Mesh, Operation, assert_problem
from tests.contract.roles import ROLES
from tests.contract.tokens import attacks, valid_claims

OPEN = {"/health", "/healthz"}
every_role = pytest.mark.parametrize("role", ROLES)


def guarded(mesh: Mesh, role: str) -> list[Operation]:
    found = [one for one in mesh.operations(role) if one.template not in OPEN]
    assert found
    return found


def knock(mesh: Mesh, one: Operation, authorization: str | None) -> Answer:
    headers = {} if authorization is None else {"Authorization": authorization}
    return mesh.request(one.method, one.path, role=one.role, body=b"{}" if one.has_body else None, **headers)


def assert_refused(answer: Answer, status: int, code: str, what: object) -> None:
    assert answer.status == status, (what, answer)
    assert_problem(answer)
    assert answer.json["code"] == code, what


@every_role
def test_only_health_is_open(mesh: Mesh, role: str) -> None:
    assert {one.template for one in mesh.operations(role) if not one.guarded} == OPEN


@every_role
@pytest.mark.parametrize("path", ["/healthz", "/health", "/openapi.json"])
def test_health_and_the_document_need_no_token(mesh: Mesh, role: str, path: str) -> None:
    answer = mesh.request("GET", path, role=role)
    assert answer.status == 200
    assert isinstance(answer.json, dict)


@every_role
def test_the_documentation_opens_without_a_token(mesh: Mesh, role: str) -> None:
    answer = mesh.request("GET", "/docs", role=role)
    for _ in range(3):
        if answer.status in {301, 302, 307, 308}:
            path = answer.headers["location"].removeprefix(mesh.stack.url(role))
            answer = mesh.request("GET", path if path.startswith("/") else f"/{path}", role=role)
    assert answer.status == 200
    assert b"swagger" in answer.body.lower()


@every_role
def test_without_a_token_it_is_401_with_a_challenge(mesh: Mesh, role: str) -> None:
    for one in guarded(mesh, role):
        answer = knock(mesh, one, None)
        assert_refused(answer, 401, "unauthenticated", one)
        assert answer.headers["www-authenticate"].startswith("Bearer")


@every_role
def test_a_stranger_is_403(mesh: Mesh, role: str) -> None:
    token = mesh.stack.token(mesh.stack.url(role), STRANGER)
    for one in guarded(mesh, role):
        assert_refused(knock(mesh, one, f"Bearer {token}"), 403, "forbidden", one)


@every_role
def test_a_token_for_another_function_is_401(mesh: Mesh, role: str) -> None:
    other = next(name for name in ROLES if name != role)
    for one in guarded(mesh, role):
        who = mesh.pushers.get(mesh.stack.url(role) + one.path, mesh.developer)
        token = mesh.stack.token(mesh.stack.url(other), who)
        assert_refused(knock(mesh, one, f"Bearer {token}"), 401, "unauthenticated", one)


@every_role
def test_an_expired_token_is_401(mesh: Mesh, role: str) -> None:
    for one in guarded(mesh, role):
        who = mesh.pushers.get(mesh.stack.url(role) + one.path, mesh.developer)
        token = mesh.stack.token(mesh.stack.url(role), who, expires_in=-60)
        assert_refused(knock(mesh, one, f"Bearer {token}"), 401, "unauthenticated", one)


@every_role
def test_no_attack_on_the_token_gets_in_or_breaks_anything(mesh: Mesh, role: str, stack_place: Path) -> None:
    key = SigningKey.load_or_create(stack_place / ".mesh" / "oidc-key.pem")
    for one in guarded(mesh, role):
        who = mesh.pushers.get(mesh.stack.url(role) + one.path, mesh.developer)
        claims = valid_claims(mesh.stack.issuer.url, mesh.stack.url(role), who)
        assert knock(mesh, one, f"Bearer {key.sign(claims)}").status not in {401, 403}, "the claims would be fine"
        details = set()
        for name, authorization in attacks(key, claims).items():
            answer = knock(mesh, one, authorization)
            assert_refused(answer, 401, "unauthenticated", (one, name))
            details.add(answer.json["detail"])
        assert len(details) == 1, "the answer tells the attacker what was wrong"


def test_pushes_and_calls_do_not_take_each_others_tokens(mesh: Mesh) -> None:
    for role in ROLES:
        pushers = {one.path: mesh.pushers.get(mesh.stack.url(role) + one.path) for one in guarded(mesh, role)}
        assert any(pushers.values())
        for one in guarded(mesh, role):
            pusher = pushers[one.path]
            foreign = {mesh.developer} if pusher else {who for who in pushers.values() if who}
            for who in foreign:
                answer = knock(mesh, one, f"Bearer {mesh.stack.token(mesh.stack.url(role), who)}")
                assert_refused(answer, 403, "forbidden", (one, who))


def test_a_push_account_of_another_agent_is_403(mesh: Mesh) -> None:
    other = mesh.pushers[mesh.stack.url("metered") + "/pubsub/push"]
    assert mesh.raw("POST", "/pubsub/push", b"{}", role="actor", email=other).refusal == (403, "forbidden")


def test_a_caller_who_is_no_operator_may_not_operate(mesh: Mesh) -> None:
    paths = ["/agents/light/pause", "/agents/light/resume", "/dead/nothing_here/replay", "/sweep"]
    for path in paths:
        assert mesh.post(path, {}, email=mesh.other_caller).refusal == (403, "forbidden"), path
    assert mesh.get("/dead", email=mesh.other_caller).refusal == (403, "forbidden")


@every_role
def test_unknown_paths_and_methods_are_problems(mesh: Mesh, role: str) -> None:
    for path in ("/nothing", "/task", "/%00", "/..%2f..%2fetc", "/" + "x" * 5000):
        answer = mesh.raw("GET", path, None, role=role)
        assert_refused(answer, 404, "not_found", path)
    for one in guarded(mesh, role):
        answer = mesh.raw("DELETE", one.path, None, role=role)
        assert_refused(answer, 405, "method_not_allowed", one)
        assert one.method in answer.headers["allow"]
