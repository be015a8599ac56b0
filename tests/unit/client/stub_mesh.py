"""An orchestrator and an issuer on a loopback port that answer what a test tells them to, and keep what was asked."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel
from typing_extensions import override

from agent_mesh.contracts.problems import MeshError
from agent_mesh.contracts.tasks import Mode, Task, TaskStatus

DEVELOPER = "developer@local.test"


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What to answer."""

    body: BaseModel | dict[str, Any] | str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Return the body's bytes."""
        if isinstance(self.body, BaseModel):
            return self.body.model_dump_json(by_alias=True, exclude_none=True).encode()
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


Rule = Answer | Callable[[Asked], Answer]


def refusal(error: MeshError, trace_id: str = "0123abcd") -> Answer:
    """Return the answer that a function gives for an error."""
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    return Answer(error.to_problem(trace_id=trace_id), error.status, headers)


def a_task(task_id: str = "task_1", status: TaskStatus = TaskStatus.SUCCEEDED, **fields: Any) -> Task:
    """Return a task with believable values."""
    defaults: dict[str, Any] = {
        "trace_id": "0123abcd",
        "agent": "light",
        "mode": Mode.HTTP,
        "ttl": time.time() + 60,
        "budget_cents": 10,
        "cost_cents": 5,
        "attempt": 1,
        "caller": DEVELOPER,
        "created_at": "2026-11-20T09:00:00.000Z",
        "updated_at": "2026-11-20T09:00:01.250Z",
        "finished_at": "2026-11-20T09:00:01.250Z" if status.terminal else None,
        "result": {"echo": "hello"} if status is TaskStatus.SUCCEEDED else None,
    }
    return Task(task_id=task_id, status=status, **{**defaults, **fields})


def unsigned_token(audience: str, email: str, lifetime_s: float = 3600) -> str:
    """Return a token whose claims can be read and whose signature is none."""
    claims = {"aud": audience, "email": email, "exp": int(time.time() + lifetime_s)}
    parts = ({"alg": "none"}, claims)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + ".AAAA"
    )


class StubMesh:
    """The server. `rules` maps "METHOD /path" to its answer; what has no rule is 404."""

    def __init__(self) -> None:
        self.rules: dict[str, Rule] = {
            "GET /token": lambda asked: Answer(
                {"id_token": unsigned_token(asked.query["audience"][0], asked.query["email"][0])}
            ),
            "GET /oauth2/v1/certs": Answer({}),
            "GET /health": Answer({"status": "ok", "role": "orchestrator", "version": "0"}),
        }
        self.asked: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def calls(self) -> list[str]:
        """Return what was asked of the orchestrator, without tokens and health."""
        silent = {"/token", "/health", "/oauth2/v1/certs"}
        return [f"{asked.method} {asked.path}" for asked in self.asked if asked.path not in silent]

    def write_stack(self, folder: Path, **changes: Any) -> Path:
        """Write the `.mesh/stack.json` of this server into a folder."""
        stack = {
            "pid": None,
            "functions": {"orchestrator": {"url": self.url, "audience": "orchestrator-audience"}},
            "issuer": {"url": self.url, "tokenUrl": f"{self.url}/token"},
            "emulators": {"firestore": self.url.removeprefix("http://")},
            "developer": DEVELOPER,
        }
        file = folder / ".mesh" / "stack.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**stack, **changes}))
        return file

    def _answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        rule = self.rules.get(f"{asked.method} {asked.path}", Answer("no rule for this", 404))
        return rule if isinstance(rule, Answer) else rule(asked)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                where = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                form = "urlencoded" in headers.get("content-type", "")
                content = json.loads(body) if body and not form else None
                answer = stub._answer(Asked(self.command, where.path, parse_qs(where.query), headers, content))
                encoded = answer.encoded()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            do_POST = do_GET  # noqa: N815  # the name that http.server calls

            @override
            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler
