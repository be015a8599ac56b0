from __future__ import annotations

import json
from typing import Any

import pytest

from agent_mesh.policy import Bundle, packaged_bundle
from tests.contract.mesh import at_once, eventually, task_request, unique
from tests.contract.policy.conftest import Policies
from tests.policies import INTENT, risk_limit, variant

FAILING = 'package own_test\n\ntest_allows_all := {"decision": "access", "given": {}, "expect": {"allow": true}}\n'


def upload(policies: Policies, bundle: Bundle) -> str:
    answer = policies.post("/policies", bundle.model_dump(mode="json"))
    assert answer.status == 201, answer.body
    assert answer.headers["location"] == f"/policies/{bundle.version}"
    return str(answer.json["version"])


def state(policies: Policies) -> dict[str, Any]:
    return dict(policies.get("/policies").json)


def activate(policies: Policies, version: str) -> dict[str, Any]:
    answer = policies.post(f"/policies/{version}/activate", {})
    assert answer.status == 200, answer.body
    return dict(answer.json)


def decided_by(policies: Policies, version: str) -> None:
    """Wait until an intent is decided by this version."""
    eventually(lambda: policies.post("/evaluate", INTENT).json.get("policy_version") == version)


@pytest.fixture(autouse=True)
def packaged_again(policies: Policies) -> Any:
    yield
    policies.post("/policies/unshadow", {})
    activate(policies, "packaged")
    decided_by(policies, packaged_bundle("mesh").version)


def test_an_uploaded_version_decides_once_it_is_activated_and_not_after_a_rollback(policies: Policies) -> None:
    version = upload(policies, risk_limit(30))
    before = policies.post("/evaluate", INTENT).json
    assert before["decision"] == "allow"
    assert activate(policies, version)["active"] == version
    decided_by(policies, version)
    after = policies.post("/evaluate", INTENT).json
    assert (after["decision"], after["reasons"]) == ("deny", ["session_risk_too_high"])
    rolled_back = policies.post("/policies/rollback", {}).json
    assert rolled_back["active"] == "packaged"
    decided_by(policies, before["policy_version"])
    assert policies.post("/evaluate", INTENT).json["digest"] == before["digest"]
    old = {"digest": after["digest"], "policy_version": version, "input": INTENT, "decision": "deny"}
    assert policies.post("/evaluate/repeat", old).json["repeats"] is True


def test_every_act_is_an_event_with_who_did_it(policies: Policies) -> None:
    version = upload(policies, risk_limit(31))
    activate(policies, version)
    policies.post("/policies/rollback", {})
    policies.post(f"/policies/{version}/shadow", {})
    revision = policies.post("/policies/unshadow", {}).json["revision"]
    acts = ["activated", "rolled_back", "shadowed", "unshadowed"]
    policies.told(lambda event: event["data"].get("revision") == revision)
    told = {
        event["type"].removeprefix("mesh.policy."): event["data"]
        for event in policies.events
        if event["data"].get("revision", 0) > revision - 4 or event["subject"] == version
    }
    assert set(told) >= {"uploaded", *acts}
    assert {data["actor"] for data in told.values()} == {policies.mesh.developer}
    assert [told[act]["revision"] for act in acts] == list(range(revision - 3, revision + 1))


def test_an_act_that_was_done_already_is_the_same_event_again(policies: Policies) -> None:
    version = upload(policies, risk_limit(32))
    first, second = (activate(policies, version) for _ in range(2))
    assert first["revision"] == second["revision"]
    same = policies.told(
        lambda event: event["type"] == "mesh.policy.activated" and event["data"]["active"] == version, 2
    )
    assert len({event["id"] for event in same}) == 1


def test_what_is_so_already_by_another_act_is_no_event(policies: Policies) -> None:
    version = upload(policies, risk_limit(34))
    activate(policies, version)
    revision = policies.post(f"/policies/{upload(policies, risk_limit(35))}/shadow", {}).json["revision"]
    assert activate(policies, version)["revision"] == revision
    last = policies.post("/policies/unshadow", {}).json["revision"]
    policies.told(lambda event: event["data"].get("revision") == last)
    acts = [event["type"] for event in policies.events if event["data"].get("revision") == revision]
    assert acts == ["mesh.policy.shadowed"]


def test_versions_are_listed_and_can_be_read(policies: Policies) -> None:
    bundle = risk_limit(33)
    version = upload(policies, bundle)
    listed = {one["version"]: one for one in state(policies)["versions"]}
    assert (listed[version]["tests"], listed[version]["uploaded_by"]) == (1, policies.mesh.developer)
    shown = policies.get(f"/policies/{version}").json
    assert Bundle.model_validate_json(json.dumps(shown["bundle"])) == bundle
    assert policies.get("/policies/packaged").json["bundle"]["name"] == "mesh"
    assert policies.get("/policies/sha256:" + "0" * 64).refusal == (404, "not_found")
    assert policies.get("/policies/latest").refusal == (422, "invalid_request")


@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        (variant(test=FAILING), "allow is False, not True"),
        (variant(test=""), "no tests"),
        (variant("access.rego", "risk_limit := 50", "risk_limit := opa.runtime()"), "opa.runtime"),
        (variant("access.rego", "risk_limit := 50", "risk_limit := 1 2"), "does not compile"),
        (variant("access.rego", "risk_limit := 50", "risk_limit := foo.bar(1)"), "no such function"),
        (variant("access.rego", "risk_limit := 50", "risk_limit := risk_limit"), "policy_recursion"),
        (variant(test="package mesh.access\n\ntest_it := true\n\nallow := true\n"), "package of its own"),
        (variant().model_copy(update={"name": "other"}), "mesh"),
    ],
    ids=["failing", "untested", "runtime", "syntax", "unknown function", "recursion", "test that rules", "other name"],
)
def test_a_bundle_that_is_not_sound_is_refused(policies: Policies, bundle: Bundle, words: str) -> None:
    answer = policies.post("/policies", bundle.model_dump(mode="json"))
    assert answer.refusal == (422, "invalid_request")
    assert words in answer.json["detail"]


@pytest.mark.parametrize(
    "body", [{}, {"name": "mesh"}, {"modules": {"../x.rego": ""}}, {"modules": {"a_test.rego": ""}}]
)
def test_what_is_no_bundle_is_refused(policies: Policies, body: dict[str, Any]) -> None:
    whole = variant().model_dump(mode="json") if "modules" in body else {}
    assert policies.post("/policies", whole | body).refusal == (422, "invalid_request")


def test_a_bundle_that_ends_its_process_ends_the_rehearsal_only(policies: Policies) -> None:
    bundle = variant("access.rego", "risk_limit := 50", "risk_limit := " + "[" * 20_000 + "]" * 20_000)
    answer = policies.post("/policies", bundle.model_dump(mode="json"))
    assert answer.refusal == (422, "invalid_request")
    assert "ended the process" in answer.json["detail"]
    assert policies.post("/evaluate", INTENT).json["decision"] == "allow"


def test_a_bundle_that_does_not_decide_everything_is_not_activated(policies: Policies) -> None:
    bundle = variant()
    less = bundle.manifest.model_copy(update={"decisions": {"access": bundle.decisions["access"]}})
    version = upload(policies, bundle.model_copy(update={"manifest": less}))
    answer = policies.post(f"/policies/{version}/activate", {})
    assert answer.refusal == (422, "invalid_request")
    assert "dispatch, relay" in answer.json["detail"]
    assert state(policies)["active"] == "packaged"


def test_nothing_that_was_not_uploaded_can_be_activated(policies: Policies) -> None:
    for version in ("sha256:" + "0" * 64, packaged_bundle("mesh").version):
        for act in ("activate", "shadow"):
            assert policies.post(f"/policies/{version}/{act}", {}).refusal == (404, "not_found")


def test_of_changes_at_the_same_revision_one_is_made(policies: Policies) -> None:
    versions = [upload(policies, risk_limit(limit)) for limit in (20, 21, 22)]
    revision = state(policies)["revision"]
    answers = at_once(3, lambda n: policies.post(f"/policies/{versions[n]}/activate", {"revision": revision}))
    assert sorted(answer.status for answer in answers) == [200, 409, 409]
    assert state(policies)["revision"] == revision + 1
    stale = policies.post("/policies/rollback", {"revision": revision})
    assert stale.refusal == (409, "conflict")


def test_what_is_stored_and_was_changed_by_hand_is_not_activated(policies: Policies) -> None:
    version = upload(policies, risk_limit(23))
    document = policies.mesh.database.collection("policy_versions").document(version.removeprefix("sha256:"))
    forged = document.get().get("bundle").replace("risk_limit := 23", "risk_limit := 99")
    document.update({"bundle": forged})
    answer = policies.post(f"/policies/{version}/activate", {})
    assert answer.refusal == (409, "conflict")
    assert policies.post(f"/policies/{upload(policies, risk_limit(24))}/shadow", {}).status == 200
    policies.mesh.database.collection("policy_switches").document("mesh").update({"active": version})
    for _ in range(3):
        decided_by(policies, packaged_bundle("mesh").version)
    policies.mesh.database.collection("policy_switches").document("mesh").update({"active": "packaged"})
    document.delete()


def test_a_shadow_decides_nothing_and_its_differences_are_told(policies: Policies) -> None:
    version = upload(policies, risk_limit(10))
    assert policies.post(f"/policies/{version}/shadow", {}).json["shadow"] == version

    def differs() -> list[dict[str, Any]]:
        answer = policies.post("/evaluate", INTENT).json
        assert answer["decision"] == "allow"
        policies.told(lambda event: event["subject"] == answer["tx_id"], 2)
        return [
            event["data"]
            for event in policies.events
            if event["type"] == "mesh.policy.differs"
            and event["data"]["in_shadow"]["policy_version"] == version
            and event["data"]["in_shadow"]["reasons"] != ["policy_timed_out"]  # on a machine that is busy
        ]

    (difference, *_) = eventually(differs)
    assert difference["kind"] == "access"
    assert difference["in_force"]["decision"] == "allow"
    assert difference["in_shadow"]["reasons"] == ["session_risk_too_high"]


READS = 'reads if input.resource.scope == "read"'
ENDLESS = """reads if {
	input.resource.scope == "read"
	not endless
}

endless if {
	input.context.endless
	some i in numbers.range(1, 1500)
	some j in numbers.range(1, 1500)
	i * j == -1
}"""


def test_an_evaluation_that_does_not_end_is_denied_and_keeps_no_other_waiting(policies: Policies) -> None:
    version = upload(policies, variant("access.rego", READS, ENDLESS))
    activate(policies, version)
    decided_by(policies, version)
    endless = {**INTENT, "context": {**INTENT["context"], "endless": True}}

    def ask(n: int) -> dict[str, Any]:
        return dict(policies.post("/evaluate", endless if n == 0 else INTENT).json)

    answers = at_once(8, ask)
    assert (answers[0]["decision"], answers[0]["reasons"]) == ("deny", ["policy_timed_out"])
    assert [one["decision"] for one in answers[1:]] == ["allow"] * 7


def test_only_operators_change_the_policy(policies: Policies) -> None:
    caller = policies.mesh.other_caller
    assert policies.post("/evaluate", INTENT, email=caller).status == 200
    assert policies.get("/policies", email=caller).refusal == (403, "forbidden")
    body = variant().model_dump(mode="json")
    for path in ("/policies", "/policies/packaged/activate", "/policies/rollback", "/policies/unshadow"):
        assert policies.post(path, body if path == "/policies" else {}, email=caller).refusal == (403, "forbidden")


def test_the_version_in_force_decides_about_tasks_too(policies: Policies) -> None:
    rule = 'agent_named if {\n\tis_string(input.resource.agent)\n\tinput.resource.agent != ""'
    stricter = variant("dispatch.rego", rule, rule.replace('!= ""', '== "somebody"'))
    version = upload(policies, stricter)
    key = unique("key")
    request = task_request("digest", mode="pubsub", idempotencyKey=key)
    first = policies.mesh.post("/dispatch", request)
    assert first.status == 202
    activate(policies, version)

    def denied() -> dict[str, Any]:
        answer = policies.mesh.post("/dispatch", task_request("digest", mode="pubsub"))
        return dict(answer.json) if answer.status == 403 else {}

    problem = eventually(denied)
    assert problem["code"] == "policy_denied"
    task = policies.mesh.task(problem["taskId"])
    assert (task["status"], task["policy"]["reasons"]) == ("rejected", ["agent_not_named"])
    assert (task["policy"]["version"], task["policy"]["ref"]) == (version, "dispatch.rego#allow")
    again = policies.mesh.post("/dispatch", request)
    assert again.json["taskId"] == first.json["taskId"]
    story = policies.mesh.get(f"/task/{problem['taskId']}/explain").json["facts"]
    asked = {
        "digest": task["policy"]["digest"],
        "policy_version": version,
        "kind": "dispatch",
        "input": story["policyInput"],
        "decision": "deny",
    }
    assert policies.post("/evaluate/repeat", asked).json["repeats"] is True
