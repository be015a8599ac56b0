"""`callbackUrl`: the result comes signed as Standard Webhooks say, to public hosts alone, and again if need be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.contract.mesh import Mesh, assert_problem, eventually, task_request, unique
from tests.contract.receiver import Received, Receiver
from tests.contract.roles import WEBHOOK_SECRET


def path() -> str:
    return f"/{unique('callback')}"


def verified(received: Received) -> Mapping[str, Any]:
    """Check as a receiver would that uses the official library; return the event."""
    content: Mapping[str, Any] = Webhook(WEBHOOK_SECRET).verify(received.body, received.headers)
    return content


def callback_of(mesh: Mesh, task_id: str, status: str) -> dict[str, Any]:
    """Wait until a task's callback is in a state."""

    def reached() -> dict[str, Any]:
        callback: dict[str, Any] = mesh.task(task_id)["callback"]
        return callback if callback["status"] == status else {}

    return eventually(reached)


def cancelled(mesh: Mesh, url: str) -> str:
    """End a task whose callback the sweep alone makes: no result of it comes."""
    task_id = str(mesh.accepted("actor", notBefore=time.time() + 40, callbackUrl=url)["taskId"])
    assert mesh.post(f"/task/{task_id}/cancel").status == 200
    return task_id


@pytest.mark.parametrize(
    ("mode", "status", "payload"),
    [
        ("http", "succeeded", {"n": 1}),
        ("http", "failed", {"act": "fail", "times": 1}),
        ("http", "dead", {"act": "end"}),
        ("pubsub", "succeeded", {"n": 1}),
        ("pubsub", "dead", {"act": "end"}),
    ],
)
def test_every_end_is_delivered_under_the_tasks_id_with_a_signature_that_verifies(
    mesh: Mesh, receiver: Receiver, mode: str, status: str, payload: dict[str, Any]
) -> None:
    there = path()
    task_id = mesh.dispatch("actor", payload=payload, mode=mode, callbackUrl=receiver.url(there)).json["taskId"]
    received = eventually(lambda: receiver.received(there))[0]
    event = verified(received)
    task = mesh.ended(task_id)
    assert event["type"] == f"mesh.task.{status}"
    assert event["data"] == {name: value for name, value in task.items() if name not in {"callback", "updatedAt"}} | {
        "updatedAt": event["data"]["updatedAt"]
    }
    assert (received.method, received.headers["webhook-id"]) == ("POST", task_id)
    assert "authorization" not in received.headers, "our ID token must never leave"
    assert callback_of(mesh, task_id, "delivered")["attempts"] == 1


def test_a_cancelled_task_calls_back_as_well(mesh: Mesh, receiver: Receiver) -> None:
    there = path()
    cancelled(mesh, receiver.url(there))
    (received,) = eventually(lambda: receiver.received(there))
    assert verified(received)["type"] == "mesh.task.cancelled"


def test_a_tampered_body_does_not_verify(mesh: Mesh, receiver: Receiver) -> None:
    there = path()
    cancelled(mesh, receiver.url(there))
    (received,) = eventually(lambda: receiver.received(there))
    verified(received)
    with pytest.raises(Exception, match="signature"):
        Webhook(WEBHOOK_SECRET).verify(received.body.replace(b"cancelled", b"succeeded"), received.headers)


def test_a_receiver_that_fails_first_is_called_again_by_the_sweep_with_the_same_id(
    mesh: Mesh, receiver: Receiver
) -> None:
    there = path()
    task_id = cancelled(mesh, receiver.url(there, 503))
    assert callback_of(mesh, task_id, "delivered")["attempts"] == 2
    first, second = receiver.received(there)
    assert second.at - first.at > 4
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == task_id
    assert first.json == second.json
    assert verified(second)["type"] == "mesh.task.cancelled"


def test_a_receiver_that_is_gone_is_not_called_again(mesh: Mesh, receiver: Receiver) -> None:
    there = path()
    task_id = cancelled(mesh, receiver.url(there, 410))
    assert callback_of(mesh, task_id, "failed")["attempts"] == 1
    assert mesh.task(task_id)["status"] == "cancelled"


def test_a_redirect_is_not_followed(mesh: Mesh, receiver: Receiver) -> None:
    there = path()
    task_id = cancelled(mesh, receiver.url(there, 302))
    eventually(lambda: mesh.task(task_id)["callback"] == {"status": "pending", "attempts": 1})
    assert receiver.received(f"{there}/elsewhere") == []


def test_a_refused_task_calls_nobody(mesh: Mesh, receiver: Receiver) -> None:
    there = path()
    assert mesh.dispatch("actor", budgetCents=0, callbackUrl=receiver.url(there)).status == 402
    time.sleep(1)
    assert receiver.received(there) == []


def test_a_direct_run_calls_back_from_the_agent(mesh: Mesh, receiver: Receiver) -> None:
    there = path()
    run = {"payload": {"n": 1}, "ttl": time.time() + 60, "budgetCents": 5, "callbackUrl": receiver.url(there)}
    assert mesh.post("/run", run, role="agent_light").status == 200
    (received,) = receiver.received(there)
    event = verified(received)
    assert event["type"] == "mesh.run.succeeded"
    assert (event["data"]["result"]["echo"], event["data"]["costCents"]) == ({"n": 1}, 5)
    assert "authorization" not in received.headers


def test_a_pushed_payload_with_a_callback_calls_back_instead_of_publishing(mesh: Mesh, receiver: Receiver) -> None:
    there = path()
    run = {"payload": {"n": 1}, "callbackUrl": receiver.url(there, 503)}
    message_id = unique("m")
    assert mesh.push("/pubsub/push", run, role="agent_light", messageId=message_id).status == 503
    assert mesh.push("/pubsub/push", run, role="agent_light", messageId=message_id).status == 204
    first, second = receiver.received(there)
    assert verified(second)["data"] == first.json["data"] | {"finishedAt": second.json["data"]["finishedAt"]}


INWARD = {
    "http": "http://example.com/hook",
    "metadata by address": "https://169.254.169.254/computeMetadata/v1/",
    "metadata by name": "https://metadata.google.internal/",
    "loopback v6": "https://[::1]/",
    "loopback v4": "https://127.0.0.1/",
    "another port of loopback": "http://127.0.0.1:1/",
    "all of loopback": "https://127.9.9.9/",
    "private 10": "https://10.0.0.1/",
    "private 172": "https://172.16.0.1/",
    "private 192": "https://192.168.1.1/",
    "carrier": "https://100.64.0.1/",
    "zero": "https://0.0.0.0/",
    "short zero": "https://0/",
    "decimal": "https://2130706433/",
    "hexadecimal": "https://0x7f000001/",
    "octal": "https://0177.0.0.1/",
    "short": "https://127.1/",
    "mapped v6": "https://[::ffff:127.0.0.1]/",
    "mapped v6 in hexadecimal": "https://[::ffff:7f00:1]/",
    "NAT64": "https://[64:ff9b::7f00:1]/",
    "unique local v6": "https://[fd00::1]/",
    "link local v6": "https://[fe80::1%25eth0]/",
    "localhost": "https://localhost/",
    "localhost with a dot": "https://localhost./",
    "below localhost": "https://x.localhost/",
    "an inward name": "https://orchestrator.internal/",
    "a bare name": "https://orchestrator/",
    "full-width digits": "https://\uff11\uff12\uff17.0.0.1/",
    "user": "https://user:secret@example.com/",
    "user that looks like a host": "https://example.com@169.254.169.254/",
    "another port": "https://example.com:8080/",
    "ftp": "ftp://example.com/",
    "file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:6379/_",
    "data": "data:text/plain,hello",
    "no scheme": "//example.com/",
    "no host": "https:///path",
    "backslash": "https://example.com\\@127.0.0.1/",
    "line break": "https://example.com/\r\nHost: x",
    "blank": "https://exa mple.com/",
    "port zero": "https://example.com:0/",
    "a huge port": "https://example.com:99999/",
    "broken brackets": "https://[::1/",
    "multicast": "https://224.0.0.1/",
    "broadcast": "https://255.255.255.255/",
}


@pytest.mark.parametrize("url", INWARD.values(), ids=INWARD.keys())
def test_an_address_that_is_not_public_is_refused_and_nothing_is_stored(mesh: Mesh, url: str) -> None:
    tasks = mesh.count("tasks")
    run = {"payload": {}, "ttl": time.time() + 60, "budgetCents": 5, "callbackUrl": url}
    for answer in (mesh.dispatch("light", callbackUrl=url), mesh.post("/run", run, role="agent_light")):
        assert answer.refusal == (422, "invalid_request"), answer
        assert_problem(answer)
        assert answer.fields == {"callbackUrl"}
    assert mesh.count("tasks") == tasks


def test_an_address_that_is_not_public_is_refused_in_a_batch_too(mesh: Mesh) -> None:
    request = task_request(callbackUrl="https://169.254.169.254/")
    (one,) = mesh.post("/dispatch/batch", {"tasks": [request]}).json["results"]
    assert (one["status"], one["problem"]["errors"][0]["field"]) == (422, "callbackUrl")


def test_a_pushed_message_with_an_inward_address_is_a_dead_letter_and_calls_nobody(mesh: Mesh) -> None:
    word = unique()
    run = {"payload": {"word": word}, "callbackUrl": "http://127.0.0.1:1/"}
    assert mesh.push("/pubsub/push", run, role="actor").refusal == (422, "invalid_request")
    assert mesh.starts(word) == []
