"""The one shape of a function: typed routes, a caller for each, problems for errors, OpenAPI and health for all.

A `FunctionApp` is a Flask application of its own behind the functions-framework target. For each request it

1. sets the trace, 2. verifies who calls and whether this route is theirs, before anything of the body is read,
3. parses the body, path and query into the route's models, 4. runs the view, 5. publishes the events that the call
gathered.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Final, TypeAlias, TypeVar

import flask
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.routing import WebsocketMismatch

from agent_mesh.contracts.problems import (
    PROBLEM_CONTENT_TYPE,
    BodyTooLarge,
    FieldFault,
    Internal,
    InvalidRequest,
    MalformedRequest,
    MeshError,
    MethodNotAllowed,
    NotFound,
    Problem,
    Unavailable,
)
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import LostRace
from agent_mesh.platform.logs import configure_logs, current_trace, log
from agent_mesh.platform.oidc import Identity, TokenVerifier, authorize
from agent_mesh.platform.settings import Settings
from agent_mesh.platform.trace import incoming_trace, new_trace
from agent_mesh.version import VERSION

BODY_LIMIT_BYTES: Final = 2 * 1024 * 1024
PUSH_BODY_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""A push carries up to 10 MB of message as base64."""

_LIBRARYS_OWN: Final = ("openapi.openapi", "openapi.static")
_View = TypeVar("_View", bound=Callable[..., Any])


_ANONYMOUS: Final = Identity(email="", subject="")

OtherProof: TypeAlias = Callable[[flask.Request], Identity | None]
"""Who calls, by something else than an ID token; None where the request has no such thing. Raises like a verifier."""


@dataclass(frozen=True)
class Access:
    """Who may call a route. Nobody, unless it says otherwise.

    `otherwise` is asked where a request has no Authorization header: browsers cannot send one with every request. Whom
    it names is let in, for it knows what its proof was given for; if it knows nobody, the request has no proof at all.
    """

    emails: frozenset[str] = frozenset()
    audiences: tuple[str, ...] = ()
    public: bool = False
    otherwise: OtherProof | None = None

    @classmethod
    def of(cls, emails: Collection[str], *audiences: str, otherwise: OtherProof | None = None) -> Access:
        """Return access for callers with these e-mails, whose tokens are for one of these audiences."""
        return cls(frozenset(emails), tuple(audience for audience in audiences if audience), otherwise=otherwise)


NOBODY: Final = Access()
PUBLIC: Final = Access(public=True)


@dataclass(frozen=True)
class Reply:
    """What a view answers when a body with status 200 does not say it all."""

    body: BaseModel | None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Content:
    """What a view answers when its body is no JSON: bytes, or a stream of them, which is closed with the connection.

    A stream runs after the view: the request is not there any more, and events are gathered before it begins.
    """

    body: bytes | Iterable[bytes]
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Health(BaseModel):
    """Liveness."""

    status: str
    role: str
    version: str


class _RawJsonRequest(flask.Request):
    """Hands the body on as text, for pydantic to parse: Flask's own parser crashes on deep JSON.

    No body is an empty object: `curl -X POST` and Cloud Scheduler send none where nothing has to be said.
    """

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002, ARG002  # Flask's signature
        try:
            return self._whole_body().decode() or "{}"
        except UnicodeDecodeError as error:
            detail = "The body is not UTF-8, which JSON between systems must be (RFC 8259 section 8.1)."
            raise MalformedRequest(detail, errors=[FieldFault(field="body", message="is not UTF-8")]) from error

    def _whole_body(self) -> bytes:
        """Werkzeug cuts a body of no declared length off at the limit; whoever sent more is told so instead."""
        data = self.get_data()
        if self.content_length is None and len(data) == self.max_content_length and self.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
        return data


class _LateOpenAPI(OpenAPI):
    """Describes the routes when the document is first asked for: their schemas are most of the CPU of wiring.

    The library's own start page and files, which nobody needs, are left out: `/` and `/static/` are a role's to have.
    """

    def add_url_rule(self, rule: str, endpoint: str | None = None, *arguments: Any, **options: Any) -> None:  # noqa: ANN401  # Flask's own
        if endpoint not in _LIBRARYS_OWN:
            super().add_url_rule(rule, endpoint, *arguments, **options)

    def __init__(self, role: str, **options: Any) -> None:  # noqa: ANN401  # flask-openapi3's own
        self._undescribed: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []
        self._describing = threading.Lock()
        super().__init__(role, **options)

    def _collect_openapi_info(self, rule: str, func: Callable[..., Any], **described: Any) -> Any:  # noqa: ANN401
        self._undescribed.append((rule, func, described))
        return super()._collect_openapi_info(rule, func, doc_ui=False)

    @property
    def api_doc(self) -> dict[str, Any]:
        with self._describing:
            for rule, func, described in self._undescribed:
                super()._collect_openapi_info(rule, func, **described)
            self._undescribed.clear()
            return super().api_doc


class FunctionApp:
    """One role's routes. Give `serve` to functions-framework."""

    def __init__(
        self, role: str, description: str, settings: Settings, verifier: TokenVerifier, events: EventLog
    ) -> None:
        """Start with health and documentation routes; everything else is added with `route`."""
        configure_logs(settings.project, role)
        self._role = role
        self._verifier = verifier
        self._events = events
        self._access: dict[str, tuple[Access, int]] = {}
        self.flask = _openapi(role, description)
        self.flask.before_request(self._admit)
        self.flask.register_error_handler(MeshError, _problem)
        self.flask.register_error_handler(HTTPException, _http_problem)
        self.flask.register_error_handler(LostRace, _contended)
        self.flask.register_error_handler(Exception, _defect)
        for path in ("/health", "/healthz"):
            self.route("GET", path, access=PUBLIC, answers={200: Health}, summary="Liveness", name=path[1:])(
                self._health
            )
        self.flask.add_url_rule("/docs", "docs", lambda: flask.redirect("swagger"))

    def route(  # noqa: PLR0913  # one keyword for each thing that a route declares
        self,
        method: str,
        path: str,
        *,
        access: Access = NOBODY,
        answers: dict[int, type[BaseModel] | None],
        summary: str,
        body_limit: int = BODY_LIMIT_BYTES,
        name: str = "",
    ) -> Callable[[_View], _View]:
        """Declare a route. The view's parameters named `body`, `path` and `query` are parsed into their models."""

        def register(view: _View) -> _View:
            endpoint = name or view.__name__

            @wraps(view)
            def answered(**arguments: object) -> flask.Response:
                return _response(view(**arguments))

            add = getattr(self.flask, method.lower())
            security: list[dict[str, list[str]]] | None = None if access.public else [{"idToken": []}]
            add(path, endpoint=endpoint, summary=summary, responses=answers, security=security, operation_id=endpoint)(
                answered
            )
            self._access[endpoint] = (access, body_limit)
            return view

        return register

    def translate(self, kind: type[Exception], told: Callable[[Any], MeshError]) -> None:
        """Answer with the problem that `told` makes of an error of a capability's own kind, and log that one."""

        def answered(error: Exception) -> flask.Response:
            log("an error was translated", level=40, kind=type(error).__name__, reason=str(error))
            return _problem(told(error))

        self.flask.register_error_handler(kind, answered)

    def websocket(self, path: str, *, access: Access = NOBODY) -> Callable[[_View], _View]:
        """Declare what serves the WebSocket at a path: its view speaks on the socket and returns a `Finished`."""

        def register(view: _View) -> _View:
            endpoint = view.__name__
            self.flask.add_url_rule(path, endpoint, view, websocket=True)
            self._access[endpoint] = (access, BODY_LIMIT_BYTES)
            return view

        return register

    def accept_websockets(self, framework: flask.Flask) -> None:
        """Let functions-framework's own application hand on what asks for a WebSocket: its only rule refuses it.

        Every path is handed on: what has none is to be refused as anything else is.
        """

        def handed_on(**_path: str) -> flask.Response:
            return self.serve(flask.request)

        for path in ("/", "/<path:path>"):
            framework.add_url_rule(path, f"websocket {path}", handed_on, websocket=True)

    def answer_static(self, framework: flask.Flask) -> None:
        """Let functions-framework's own application hand on `/static/`: it would look there for files of its own."""

        def handed_on(**_filename: str) -> flask.Response:
            return self.serve(flask.request)

        framework.view_functions["static"] = handed_on

    def serve(self, request: flask.Request) -> flask.Response:
        """Answer one request of functions-framework's own application."""
        environ = request.environ
        with self.flask.request_context(environ):
            try:
                response = self.flask.full_dispatch_request()
                self._events.flush()
            finally:
                # The framework reads the rest of the body after us, without a limit; there is nothing left to read.
                environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(), "0"
                environ.pop("HTTP_TRANSFER_ENCODING", None)
        return response

    def _admit(self) -> None:
        self._events.begin()
        current_trace.set(incoming_trace(flask.request.headers.get) or new_trace())
        flask.g.identity = _ANONYMOUS
        if flask.request.endpoint not in self._access:
            return
        access, body_limit = self._access[flask.request.endpoint]
        flask.request.max_content_length = body_limit
        if not access.public:
            flask.g.identity = self._admitted(access)

    def _admitted(self, access: Access) -> Identity:
        authorization = flask.request.headers.get("Authorization")
        if authorization is None and access.otherwise and (known := access.otherwise(flask.request)):
            return known
        identity = self._verifier.verify(authorization, access.audiences)
        authorize(identity, access.emails)
        return identity

    def _health(self) -> Health:
        return Health(status="ok", role=self._role, version=VERSION)


def current_identity() -> Identity:
    """Return who makes the request that is being served."""
    identity: Identity = flask.g.identity
    return identity


def trace_id() -> str:
    """Return the trace id of the request that is being served."""
    trace = current_trace.get()
    return trace.trace_id if trace else ""


def _openapi(role: str, description: str) -> OpenAPI:
    problem = {"content": {PROBLEM_CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    app = _LateOpenAPI(
        role,
        info=Info(title=f"Agent Mesh {role}", version=VERSION, description=description),
        security_schemes={"idToken": {"type": "http", "scheme": "bearer", "bearerFormat": "Google ID token"}},
        responses={
            401: {**problem, "description": "No valid ID token"},
            403: {**problem, "description": "Not allowed"},
            422: {**problem, "description": "The request does not fit the contract"},
            "default": {**problem, "description": "Any other problem"},
        },
        validation_error_model=Problem,
        validation_error_callback=_invalid,
        doc_prefix="",
        doc_url="/openapi.json",
        static_folder=None,
    )
    app.request_class = _RawJsonRequest
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    return app


def _response(answer: object) -> flask.Response:
    if isinstance(answer, Content):
        return flask.Response(answer.body, answer.status, {**answer.headers, "Content-Type": answer.content_type})
    reply = answer if isinstance(answer, Reply) else Reply(answer) if isinstance(answer, BaseModel) else None
    if reply is None:
        return flask.make_response("", 204)
    if reply.body is None:
        return flask.make_response("", reply.status, reply.headers)
    text = reply.body.model_dump_json(by_alias=True, exclude_none=True)
    kind = PROBLEM_CONTENT_TYPE if isinstance(reply.body, Problem) else "application/json"
    return flask.Response(text, reply.status, {**reply.headers, "Content-Type": kind})


def _invalid(error: ValidationError) -> flask.Response:
    """Say which fields are wrong, without repeating the values."""
    faults = [
        FieldFault(field=".".join(map(str, fault["loc"])) or "body", message=fault["msg"])
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    if any(fault["type"] == "json_invalid" for fault in error.errors(include_input=False)):
        detail = "The body is not JSON that can be read: " + faults[0].message
        raise MalformedRequest(detail, errors=faults)
    detail = "; ".join(f"{fault.field}: {fault.message}" for fault in faults[:5])
    raise InvalidRequest(detail, errors=faults[:50])


def problem_reply(error: MeshError) -> Reply:
    """Return the problem+json answer for an error."""
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s is not None else {}
    if error.status == 401:  # noqa: PLR2004  # RFC 9110 section 15.5.2 wants the challenge
        headers["WWW-Authenticate"] = 'Bearer realm="agent-mesh"'
    return Reply(error.to_problem(instance=flask.request.path, trace_id=trace_id()), error.status, headers)


def _problem(error: MeshError) -> flask.Response:
    return _response(problem_reply(error))


def _http_problem(error: HTTPException) -> flask.Response:
    if error.response is not None or (error.code or 500) < 400:  # noqa: PLR2004  # a redirect is no problem
        return flask.make_response(error.get_response())
    if error.code == 405:  # noqa: PLR2004
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        response = _problem(MethodNotAllowed(f"{flask.request.path} takes {allowed}."))
        response.headers["Allow"] = allowed
        return response
    if error.code == 404:  # noqa: PLR2004
        return _problem(NotFound(f"There is nothing at {flask.request.path}; GET /docs lists what is here."))
    if error.code == 413:  # noqa: PLR2004
        return _problem(BodyTooLarge(f"The body may have {flask.request.max_content_length} bytes at most."))
    if isinstance(error, WebsocketMismatch):
        return _problem(MalformedRequest(f"{flask.request.path} speaks no WebSocket; ask without an Upgrade."))
    return _problem(MalformedRequest(error.description or "The request cannot be read."))


def _contended(error: LostRace) -> flask.Response:
    """Firestore may abort any commit; one that nobody repeated here did nothing, and the caller may repeat it."""
    log("a commit was aborted", reason=str(error))
    return _problem(Unavailable("The database is busy at the moment; nothing was done, ask again.", retry_after_s=1))


def _defect(error: Exception) -> flask.Response:
    log("defect while serving a request", level=40, failed=True, kind=type(error).__name__)
    return _problem(Internal("The call failed by a defect of the mesh; its log has the rest under this trace id."))
