"""Who gets into the policy function, and that nothing anybody sends breaks it."""

from __future__ import annotations

import json

import pytest

from emulator.oidc.keys import SigningKey
from tests.contract.mesh import STRANGER, Operation, assert_problem
from tests.contract.policy.conftest import Policies
from tests.contract.tokens import attacks, valid_claims
from tests.policies import INTENT

OPEN = {"/health", "/healthz"}
BODIES = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "half": b"{",
    "no UTF-8": b"\xff\xfe",
    "a number": b"1e999",
    "text": b'"x"',
    "unknown fields": b'{"x": 1}',
    "wrong types": b'{"revision": "1", "subject": [], "message": 7, "name": {}}',
    "a huge revision": b'{"revision": 1' + b"0" * 400 + b"}",
    "deep": b'{"subject":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a digest of something": json.dumps(
        {"digest": "sha256:" + "0" * 64, "policy_version": "sha256:" + "1" * 64, "input": {}}
    ).encode(),
    "an envelope without data": b'{"message": {}}',
    "an envelope with rubbish": b'{"message": {"data": "%%%"}}',
    "an intent with NaN": json.dumps(INTENT | {"context": {"session_risk": float("nan")}}).encode(),
}


def guarded(policies: Policies) -> list[Operation]:
    found = [one for one in policies.mesh.operations("policy") if one.template not in OPEN]
    assert {one.template for one in found} >= {"/evaluate", "/pubsub/intents", "/policies/{version}/activate"}
    return found


def knock(policies: Policies, one: Operation, authorization: str | None) -> tuple[int, str]:
    headers = {} if authorization is None else {"Authorization": authorization}
    body = b"{}" if one.has_body else None
    answer = policies.mesh.request(one.method, one.path, role="policy", body=body, **headers)
    assert_problem(answer)
    return answer.refusal


def test_nobody_gets_in_without_a_token_and_no_stranger_with_one(policies: Policies) -> None:
    stranger = policies.mesh.bearer("policy", STRANGER)
    for one in guarded(policies):
        assert knock(policies, one, None) == (401, "unauthenticated"), one
        assert knock(policies, one, stranger) == (403, "forbidden"), one


def test_pushes_and_calls_do_not_take_each_others_tokens(policies: Policies) -> None:
    mesh = policies.mesh
    pusher = mesh.bearer("policy", mesh.pushers[mesh.stack.url("policy") + "/pubsub/intents"])
    developer = mesh.bearer("policy", mesh.developer)
    for one in guarded(policies):
        other = developer if one.template.startswith("/pubsub/") else pusher
        assert knock(policies, one, other) == (403, "forbidden"), one


def test_no_attack_on_the_token_gets_in(policies: Policies) -> None:
    mesh = policies.mesh
    key = SigningKey.load_or_create(policies.place / ".mesh" / "oidc-key.pem")
    claims = valid_claims(mesh.stack.issuer.url, mesh.stack.url("policy"), mesh.developer)
    (evaluate,) = [one for one in guarded(policies) if one.template == "/evaluate"]
    for name, authorization in attacks(key, claims).items():
        assert knock(policies, evaluate, authorization) == (401, "unauthenticated"), name


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_no_body_breaks_any_endpoint(policies: Policies, body: bytes) -> None:
    for one in guarded(policies):
        if not one.has_body:
            continue
        answer = policies.mesh.raw(one.method, one.path, body, role="policy")
        assert answer.status < 500, (one, answer.body)
        if answer.status >= 400:
            assert_problem(answer)
    assert policies.post("/policies/packaged/activate", {}).status == 200


def test_a_body_without_end_is_cut_off(policies: Policies) -> None:
    answer = policies.mesh.raw("POST", "/evaluate", b'{"subject": "' + b"x" * 3_000_000 + b'"}', role="policy")
    assert answer.refusal == (413, "body_too_large")
