"""The mesh from outside: HTTP, Pub/Sub through the official client, and a look at the budgets in Firestore."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import urllib3
from google.cloud import firestore
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PublishRequest, PubsubMessage

from emulator.stack import LocalStack
from tests.contract.roles import OTHER_CALLER_ROLE

TERMINAL: Final = {"succeeded", "failed", "expired", "cancelled", "rejected", "dead"}
STRANGER: Final = "stranger@example.com"
JSON: Final = {"Content-Type": "application/json"}
_T = TypeVar("_T")
Task = dict[str, Any]
Body = bytes | Iterable[bytes] | None
"""Parts are sent in chunks, without a length."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and code of a problem."""
        return self.status, self.json["code"]

    @property
    def fields(self) -> set[str]:
        """The fields that a problem names."""
        return {fault["field"] for fault in self.json.get("errors", [])}


@dataclass(frozen=True)
class Operation:
    """One method of one path, as the function's own OpenAPI document has it."""

    role: str
    method: str
    template: str
    guarded: bool
    has_body: bool

    @property
    def path(self) -> str:
        """The path, with ids in it that name nothing."""
        path = self.template.replace("{agent}", "nobody").replace("{version}", "sha256:" + "0" * 64)
        for name in ("{task_id}", "{dead_id}"):
            path = path.replace(name, "nothing_here")
        assert "{" not in path, f"{self.template} has a parameter that these tests do not know"
        return path


def unique(prefix: str = "w") -> str:
    """Return a word that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex}"


def eventually(look: Callable[[], _T], seconds: float = 20.0) -> _T:
    """Return what `look` finds as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(0.05)
    return found


def at_once(count: int, call: Callable[[int], _T]) -> list[_T]:
    """Call `count` times at the same time; return the answers in order."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


class Mesh:
    """One running stack."""

    def __init__(self, stack: LocalStack, starts: Path, database: firestore.Client) -> None:
        """`starts` is the folder in which the test agents count."""
        self.stack = stack
        self.database = database
        self.developer = stack.developer
        self.other_caller = f"{OTHER_CALLER_ROLE}@{stack.project}.iam.gserviceaccount.com"
        self.pushers = {route.target.endpoint: route.target.service_account for route in stack.routes}
        self._starts = starts
        self._bearers: dict[tuple[str, str], str] = {}
        self._http = urllib3.PoolManager(maxsize=64, retries=False, timeout=60.0)
        channel = grpc.insecure_channel(stack.pubsub)
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))

    def close(self) -> None:
        """Close connections."""
        self._http.clear()
        self._publisher.transport.close()  # type: ignore[no-untyped-call]
        self.database.close()  # type: ignore[no-untyped-call]

    def request(
        self, method: str, path: str, *, role: str = "orchestrator", body: Body = None, **headers: str
    ) -> Answer:
        """Ask without a token, unless `headers` has one."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.stack.url(role) + path
        response = self._http.request(
            method, url, body=body, headers={**JSON, "Connection": "close", **given}, redirect=False
        )
        return Answer(response.status, {name.lower(): text for name, text in response.headers.items()}, response.data)

    def raw(
        self, method: str, path: str, body: Body, *, role: str = "orchestrator", email: str = "", **headers: str
    ) -> Answer:
        """Ask with the token of `email`; of whoever may call this path, if nobody is named."""
        who = email or self.pushers.get(self.stack.url(role) + path, self.developer)
        return self.request(method, path, role=role, body=body, Authorization=self.bearer(role, who), **headers)

    def bearer(self, role: str, who: str) -> str:
        """Return the Authorization header of somebody for a function; a token serves for the whole session."""
        if (role, who) not in self._bearers:
            self._bearers[role, who] = f"Bearer {self.stack.token(self.stack.url(role), who)}"
        return self._bearers[role, who]

    def get(self, path: str, *, email: str = "") -> Answer:
        """GET from the orchestrator."""
        return self.raw("GET", path, None, email=email)

    def post(self, path: str, body: object = None, *, role: str = "orchestrator", email: str = "") -> Answer:
        """POST JSON."""
        return self.raw("POST", path, None if body is None else json.dumps(body).encode(), role=role, email=email)

    def operations(self, role: str) -> list[Operation]:
        """Everything that a function says it answers."""
        document = self.request("GET", "/openapi.json", role=role).json
        return [
            Operation(role, method.upper(), path, bool(one.get("security")), "requestBody" in one)
            for path, methods in document["paths"].items()
            for method, one in methods.items()
        ]

    def dispatch(self, agent: str = "actor", *, email: str = "", **fields: Any) -> Answer:
        """Dispatch with a minute to live and budget enough."""
        return self.post("/dispatch", task_request(agent, **fields), email=email)

    def accepted(self, agent: str = "actor", **fields: Any) -> Task:
        """Dispatch in Pub/Sub mode; return the accepted task."""
        answer = self.dispatch(agent, mode="pubsub", **fields)
        assert answer.status == 202, answer.body
        return dict(answer.json)

    def task(self, task_id: str) -> Task:
        """Return a task."""
        answer = self.get(f"/task/{task_id}")
        assert answer.status == 200, answer.body
        return dict(answer.json)

    def ended(self, task_id: str, seconds: float = 20.0) -> Task:
        """Wait for the end of a task."""
        return eventually(lambda: task if (task := self.task(task_id))["status"] in TERMINAL else {}, seconds)

    def in_state(self, task_id: str, status: str) -> Task:
        """Wait until a task is in a state."""
        return eventually(lambda: task if (task := self.task(task_id))["status"] == status else {})

    def listed(self, query: str) -> list[Task]:
        """Return all tasks of a list, over all its pages."""
        return self._pages("/tasks", "tasks", query)

    def dead_letters(self, query: str = "") -> list[dict[str, Any]]:
        """Return all dead letters of a list, over all its pages."""
        return self._pages("/dead", "dead", query)

    def _pages(self, path: str, kind: str, query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = self.get(f"{path}?{query}").json
        found += page[kind]
        while cursor := page.get("nextCursor"):
            page = self.get(f"{path}?{query}&cursor={cursor}").json
            found += page[kind]
        return found

    def dead_letter(self, task_id: str) -> dict[str, Any]:
        """Wait for the dead letter of a task."""
        (letter,) = eventually(lambda: [one for one in self.dead_letters() if one.get("taskId") == task_id])
        return letter

    def starts(self, word: str) -> list[int]:
        """The attempts that a test agent's handler was started with for payloads with this word."""
        file = self._starts / word
        return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []

    def started_at(self, word: str) -> float:
        """Unix seconds of the first start."""
        return float((self._starts / word).read_text().split()[1])

    def publish(self, topic: str, data: bytes, **attributes: str) -> str:
        """Publish with Google's client; return the message id."""
        full = f"projects/{self.stack.project}/topics/{topic}"
        request = PublishRequest(topic=full, messages=[PubsubMessage(data=data, attributes=attributes)])
        return str(self._publisher.publish(request).message_ids[0])

    def push(self, path: str, data: object, *, role: str = "orchestrator", **envelope: Any) -> Answer:
        """Push as the subscription would. `data` is JSON, or bytes as they are."""
        return self.post(path, envelope_of(data, **envelope), role=role)

    def result(self, task_id: str, **fields: Any) -> Answer:
        """Push a result to the orchestrator."""
        return self.push("/pubsub/results", {"taskId": task_id, "status": "succeeded", "costCents": 0} | fields)

    def budget(self, agent: str) -> tuple[int, int]:
        """Return what is used of today's budget of an agent, and its limit, in cents."""
        fields = self._budget(agent, 0).get().to_dict() or {}
        return fields.get("usedCents", 0), fields.get("limitCents", 0)

    def open_budget(self, agent: str, limit_cents: int) -> None:
        """Give an agent a fresh budget, for today and for tomorrow should midnight come."""
        for days in (0, 1):
            self._budget(agent, days).set({"agent": agent, "usedCents": 0, "limitCents": limit_cents})

    def _budget(self, agent: str, days: int) -> Any:
        day = datetime.now(UTC) + timedelta(days=days)
        return self.database.collection("budgets").document(f"{agent}.{day:%Y%m%d}")

    def count(self, collection: str) -> int:
        """Count documents."""
        ((counted,),) = self.database.collection(collection).count().get()  # type: ignore[no-untyped-call]
        return int(counted.value)

    def runs_of(self, *callers: str) -> int:
        """Count the runs of these callers, here: the database refuses queries that have no declared index."""
        found = self.database.collection("runs").select(["caller"]).stream()
        return sum(each.get("caller") in callers for each in found)


def task_request(agent: str = "actor", **fields: Any) -> dict[str, Any]:
    """Return a request for one task."""
    return {"agent": agent, "payload": {}, "ttl": time.time() + 60, "budgetCents": 50} | fields


def envelope_of(data: object, **envelope: Any) -> dict[str, Any]:
    """Return the body of a push."""
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    attributes = envelope.pop("attributes", {})
    message_id = envelope.pop("messageId", uuid.uuid4().hex)
    message = {"data": base64.b64encode(content).decode(), "attributes": attributes, "messageId": message_id}
    return {"message": message, "subscription": "projects/mesh-local/subscriptions/by-hand"} | envelope


def assert_problem(answer: Answer) -> None:
    """Every error body is one shape (RFC 9457)."""
    assert answer.headers["content-type"] == "application/problem+json", answer
    problem = answer.json
    assert problem.keys() >= {"type", "title", "status", "detail", "instance", "code", "traceId"}
    assert problem["status"] == answer.status
    assert problem["type"].endswith(problem["code"])
    assert len(problem["traceId"]) == 32
