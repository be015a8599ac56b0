"""`docs/api.md` and the README's map of the API, from the functions' own OpenAPI documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from agent_mesh.docs._fields import meaning
from agent_mesh.docs._markdown import code, table
from agent_mesh.docs._roles import Role, every_role
from agent_mesh.platform.app import BODY_LIMIT_BYTES, Access

_INTRODUCTION: Final = """\
Every function answers the routes of its role, and besides them `GET /health` and `GET /healthz`, `GET
/openapi.json` (from which this page is made) and `GET /docs` (the same to look at). Behind Cloud Run's front end
use `/health`: paths that end in z are reserved there.

"Who may call" names the allow-list (see [settings](settings.md)) that must hold the e-mail of the caller's ID
token. The token's audience must be the function's base URL; for pushes it is `PUBSUB_AUDIENCE` or
`RESULTS_PUBSUB_AUDIENCE` where one is set. Without a valid token the answer is 401, with a stranger's 403. Errors
are problems with a stable `code`: see [errors](errors.md).

Requests are strict: an unknown field, a number as text, NaN or a `ttl` in milliseconds is a 422 that names the
field. A body may have {limit} MiB unless the route says otherwise. Answers leave out what is null. `?` marks a
field that may be left out.
"""

_TITLES: Final = {
    "orchestrator": "orchestrator",
    "policy": "policy",
    "relay": "relay",
    "audit": "audit",
    "dashboard": "dashboard",
    "agent": "agents",
}

_WORDS: Final = {
    "orchestrator": "Takes tasks, sends them to agents, settles their results.",
    "policy": """\
Decides access intents, and keeps the versions of the rules by which every role decides. Its JSON is snake_case.""",
    "dashboard": """\
One page, and what stands in it. Pages are for everybody and empty; `/api/` is for those who are signed in ([decision
0021](decisions/0021-sign-in-without-stored-sessions.md)) or send an ID token for this function. `/api/stream` is a
stream like the relay's `/subscribe`, of what its reader may see; with a session it ends when that does, by `event: end`
with the reason `session_ended`.""",
    "agent": """\
Every agent function has these routes: `agent_light`, `digest`, and yours. Callers normally dispatch to the
orchestrator, which calls `/run` in HTTP mode.""",
    "relay": """\
Live messages by topic. `/subscribe` is a stream of [Server-Sent
Events](https://html.spec.whatwg.org/multipage/server-sent-events.html): first the topic's history, then what comes.
Each event's `data` is a [RelayMessage](#relaymessage); `event: gap` says that messages may be missing, `event: end`
why the stream ends. The `id:` of the last event, given as `Last-Event-ID`, resumes it. `/ws` is the same over
WebSocket, one JSON object a message: `{"event", "id", "data"}`. Streams end by themselves after 9 minutes or 8 MB.
Who may publish on a topic or read it is decided by policy, kind `relay`.""",
    "audit": """\
Keeps what happened in a ledger that nobody can change unnoticed, with a receipt for each entry. Its JSON is snake_case.
Callers see the records that they handed in or are named in as the actor; operators and viewers see all. Tiles are
[C2SP tlog-tiles](https://c2sp.org/tlog-tiles), the checkpoint is a [signed note](https://c2sp.org/signed-note).""",
}


@dataclass(frozen=True)
class Route:
    """One route of a role. `request` and `answers` are names of models."""

    method: str
    path: str
    summary: str
    access: Access
    request: str
    query: list[dict[str, Any]]
    answers: dict[str, str]
    body_limit: int


def page() -> str:
    """Return the page: for each role its routes, then every model that they take or give."""
    parts = [_INTRODUCTION.format(limit=BODY_LIMIT_BYTES // 2**20).strip()]
    schemas: dict[str, Any] = {}
    for role in every_role():
        parts.append(f"## {_TITLES[role.name]}\n\n{_WORDS[role.name]}\n\n{_route_table(role)}")
        parts += _queries(role)
        schemas |= role.openapi["components"]["schemas"]
    parts.append("## Models")
    parts += [_model(name, schema) for name, schema in sorted(schemas.items()) if name != "JsonValue"]
    return "\n\n".join(parts)


def overview() -> str:
    """Return one line for each route, without the models."""
    rows = [
        [role.name, code(f"{route.method} {route.path}"), route.summary, _who(route.access)]
        for role in every_role()
        for route in routes(role)
        if not route.access.public
    ]
    return table(["role", "call", "what it does", "who may call"], rows)


def routes(role: Role) -> list[Route]:
    """Return a role's routes in the order of its OpenAPI document."""
    return [
        _route(role, method.upper(), path, operation)
        for path, operations in role.openapi["paths"].items()
        for method, operation in operations.items()
    ]


def _route(role: Role, method: str, path: str, operation: dict[str, Any]) -> Route:
    answers = {
        status: _content_model(answer) for status, answer in operation["responses"].items() if status.startswith("2")
    }
    parameters = operation.get("parameters", [])
    return Route(
        method,
        path,
        operation["summary"],
        role.access[method, path],
        _content_model(operation.get("requestBody", {})),
        [each for each in parameters if each["in"] == "query"],
        answers,
        role.body_limit[method, path],
    )


def _content_model(part: dict[str, Any]) -> str:
    schemas = [content.get("schema", {}) for content in part.get("content", {}).values()]
    return schemas[0].get("$ref", "").rsplit("/", 1)[-1] if schemas else ""


def _route_table(role: Role) -> str:
    rows = [
        [code(f"{each.method} {each.path}"), each.summary, _who(each.access), _request(each), _answers(each)]
        for each in routes(role)
    ]
    return table(["call", "what it does", "who may call", "takes", "answers"], rows)


def _who(access: Access) -> str:
    if access.public:
        return "anybody"
    return ", ".join(code(name) for name in sorted(access.emails)) or "nobody"


def _request(route: Route) -> str:
    taken = [_link(route.request)] if route.request else []
    if route.query:
        taken.append("query " + ", ".join(code(each["name"]) for each in route.query))
    if route.request and route.body_limit != BODY_LIMIT_BYTES:
        taken.append(f"up to {route.body_limit // 2**20} MiB")
    return ", ".join(taken)


def _answers(route: Route) -> str:
    return ", ".join(f"{status} {_link(model)}" if model else status for status, model in sorted(route.answers.items()))


def _queries(role: Role) -> Iterator[str]:
    for route in routes(role):
        if route.query:
            rows = [
                [
                    code(each["name"] if each.get("required") else each["name"] + "?"),
                    _type(each["schema"]),
                    _default(each["schema"]),
                    meaning("query", each["name"], each["schema"]),
                ]
                for each in route.query
            ]
            title = f"Query of {code(f'{route.method} {route.path}')}:"
            yield f"{title}\n\n{table(['parameter', 'type', 'default', 'meaning'], rows)}"


def _model(name: str, schema: dict[str, Any]) -> str:
    words = schema.get("description", "").split("\n\n")[0]
    if "enum" in schema:
        return f"### {name}\n\n{words}\n\nOne of {', '.join(code(str(each)) for each in schema['enum'])}."
    required = schema.get("required", [])
    rows = [
        [
            code(field if field in required else field + "?"),
            _type(field_schema),
            _default(field_schema),
            meaning(name, field, field_schema),
        ]
        for field, field_schema in schema["properties"].items()
    ]
    return f"### {name}\n\n{words}\n\n{table(['field', 'type', 'default', 'meaning'], rows)}"


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    if default is None or default in ("", {}, []):
        return ""
    return code(str(default).lower() if isinstance(default, bool) else str(default))


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return "any JSON" if name == "JsonValue" else _link(name)
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(code(str(each)) for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}{_count(schema)}"
    kind: str = schema.get("type", "any JSON")
    return kind + _bounds(schema)


def _count(schema: dict[str, Any]) -> str:
    return f", {schema.get('minItems', 0)} to {schema['maxItems']}" if "maxItems" in schema else ""


def _bounds(schema: dict[str, Any]) -> str:
    bounds = []
    if "pattern" in schema:
        bounds.append(code(schema["pattern"]))
    if "maxLength" in schema:
        bounds.append(f"{schema.get('minLength', 0)} to {schema['maxLength']} characters")
    bounds += [
        f"{sign} {schema[key]:.15g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
        if key in schema
    ]
    return f", {', '.join(bounds)}" if bounds else ""


def _link(model: str) -> str:
    return f"[{model}](#{model.lower()})"
