"""The dashboard's routes: pages for everybody, what stands in them for those who may see it."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import flask
from pydantic import BaseModel, ConfigDict, Field

from agent_mesh.contracts.problems import Forbidden, NotFound, Unavailable
from agent_mesh.contracts.values import UnixSeconds
from agent_mesh.dashboard._explanation import ExplainedDecision
from agent_mesh.dashboard._headers import secured
from agent_mesh.dashboard._notices import notice
from agent_mesh.dashboard._sign_in import HOME, NotSignedIn, safe_destination
from agent_mesh.dashboard._static import INDEX
from agent_mesh.dashboard._story import Story
from agent_mesh.dashboard.dashboard import Dashboard
from agent_mesh.ledger.answers import ProofAnswer
from agent_mesh.ledger.errors import LedgerError
from agent_mesh.ledger.keys import encode_base64
from agent_mesh.ledger.tree import MAX_SIZE
from agent_mesh.platform.app import PUBLIC, Content, FunctionApp, Reply, current_identity
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.logs import log
from agent_mesh.platform.oidc import authorize
from agent_mesh.relay import parse_patterns
from agent_mesh.relay.sse import CONTENT_TYPE

_SEE_OTHER: Final = 303
_NOT_MODIFIED: Final = 304
_TEXT: Final = "text/plain; charset=utf-8"

_Index = Annotated[int, Field(ge=0, lt=MAX_SIZE)]
_Size = Annotated[int, Field(ge=0, le=MAX_SIZE)]


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _FilePath(BaseModel):
    name: str


class _PagePath(BaseModel):
    tx_id: str


class _TxPath(BaseModel):
    tx_id: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]


class _LoginQuery(_Query):
    destination: Annotated[str, Field(max_length=2000, alias="next", description="Path to come back to.")] = HOME
    prompt: Literal["none", "select_account"] | None = Field(
        default=None, description="The issuer's own: ask nothing, or let the person choose the account."
    )
    login_hint: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="The issuer's own: e-mail of the account that is meant."
    )
    here: bool = Field(default=False, description="True where the browser was sent on to this origin already.")


class _CallbackQuery(BaseModel):
    """What issuers send back; they may add more (OpenID Connect Core 1.0 section 3.1.2.5)."""

    model_config = ConfigDict(extra="ignore")

    state: Annotated[str, Field(max_length=200, description="What the browser was sent with.")] = ""
    code: Annotated[str, Field(max_length=2000, description="Becomes an ID token, once.")] = ""
    error: Annotated[str, Field(max_length=200, description="Why there is no code.")] = ""


class _StreamQuery(_Query):
    topic: list[str] = Field(description="Topics and patterns, at most 16.")


class _StoryQuery(_Query):
    from_index: Annotated[_Index, Field(description="`next_index` of the page of records before.")] = 0


class _InclusionQuery(_Query):
    index: Annotated[_Index, Field(description="Place of the entry; the first is 0.")]
    size: Annotated[_Size | None, Field(description="Entries of the tree; default: all.")] = None


class _ConsistencyQuery(_Query):
    old_size: Annotated[_Size, Field(alias="from", description="Entries of the older tree, at least 1.")]
    new_size: Annotated[_Size | None, Field(alias="to", description="Entries of the newer; default: all.")] = None


class SessionView(BaseModel):
    """Who looks at the mesh."""

    email: str = Field(description="E-mail of who looks.")
    signed_in_until: UnixSeconds | None = Field(description="Unix seconds; left out where the request has an ID token.")
    groups: list[str] = Field(description="`operators`, `viewers`, or both.")
    topics: list[str] = Field(description="Patterns of topics that this person may watch.")


def dashboard_app(parts: FunctionParts, board: Dashboard | None = None) -> FunctionApp:
    """Return the app of a dashboard, of a new one if none is given, wired from `parts`."""
    board = board or Dashboard(parts)
    app = parts.app("dashboard", "Shows live what happens in the mesh, and proves it.")
    app.translate(LedgerError, _unreadable)
    app.flask.after_request(lambda response: secured(response, https=board.https))
    _page_routes(app, board)
    _sign_in_routes(app, board)
    _session_routes(app, board)
    _story_routes(app, board)
    _ledger_routes(app, board)
    return app


def _page_routes(app: FunctionApp, board: Dashboard) -> None:
    @app.route("GET", "/", access=PUBLIC, answers={200: None}, summary="The page")
    def start() -> Reply | Content:
        return _page(board)

    @app.route("GET", "/tx/<path:tx_id>", access=PUBLIC, answers={200: None}, summary="The page, at one transaction")
    def transaction_page(path: _PagePath) -> Reply | Content:  # noqa: ARG001  # the page itself reads its address
        return _page(board)

    @app.route("GET", "/static/<path:name>", access=PUBLIC, answers={200: None}, summary="A file of the page")
    def static_file(path: _FilePath) -> Reply | Content:
        return _file(board, path.name)


def _sign_in_routes(app: FunctionApp, board: Dashboard) -> None:
    @app.route("GET", "/auth/login", access=PUBLIC, answers={303: None}, summary="Sign in at the issuer")
    def login(query: _LoginQuery) -> Reply | Content:
        elsewhere = board.sign_in_elsewhere(flask.request)
        if elsewhere and not query.here:
            return _see(elsewhere)
        wishes = query.model_dump(include={"prompt", "login_hint"}, exclude_none=True)
        if board.is_stranger(flask.request):  # without a choice, the issuer would send the same person back
            wishes.setdefault("prompt", "select_account")
        try:
            return _see(board.sign_in.begin(query.destination, wishes))
        except Unavailable as error:
            return notice(error.status, "Nobody can sign in yet", error.detail, again={})

    @app.route("GET", "/auth/callback", access=PUBLIC, answers={303: None}, summary="Come back from the issuer")
    def callback(query: _CallbackQuery) -> Reply | Content:
        return _signed_in(board, query)

    @app.route("POST", "/auth/logout", access=PUBLIC, answers={303: None}, summary="Sign out")
    def logout() -> Reply:
        if not _from_own_page(board):
            raise Forbidden("Only the dashboard's own page may sign out.")
        board.sessions.end()
        return _see(board.origin + HOME)


def _session_routes(app: FunctionApp, board: Dashboard) -> None:
    access = board.access

    @app.route("GET", "/api/session", access=access, answers={200: SessionView}, summary="Who is signed in")
    def session() -> SessionView:
        viewer = board.viewer(current_identity(), flask.request)
        return SessionView(
            email=viewer.identity.email,
            signed_in_until=viewer.until,
            groups=list(viewer.groups),
            topics=board.topics(viewer),
        )

    @app.route("GET", "/api/stream", access=access, answers={200: None}, summary="What happens, live")
    def stream(query: _StreamQuery) -> Content:
        viewer = board.viewer(current_identity(), flask.request)
        position = flask.request.headers.get("Last-Event-ID") or None
        body = board.watch(viewer, parse_patterns(query.topic), position, flask.request.environ)
        return Content(body, CONTENT_TYPE, headers={"X-Accel-Buffering": "no"})


def _story_routes(app: FunctionApp, board: Dashboard) -> None:
    access = board.access

    @app.route("GET", "/api/tx/<path:tx_id>", access=access, answers={200: Story}, summary="A transaction's story")
    def transaction(path: _TxPath, query: _StoryQuery) -> Story:
        return board.stories.tell(path.tx_id, query.from_index)

    @app.route(
        "GET",
        "/api/tx/<path:tx_id>/explanation",
        access=access,
        answers={200: ExplainedDecision},
        summary="Why policy decided so, rule by rule",
    )
    def explanation(path: _TxPath) -> ExplainedDecision:
        return board.explanations.explain(path.tx_id)


def _ledger_routes(app: FunctionApp, board: Dashboard) -> None:
    access = board.access

    @app.route(
        "GET", "/api/ledger/checkpoint", access=access, answers={200: None}, summary="The newest signed checkpoint"
    )
    def checkpoint() -> Content:
        return Content(board.ledger.checkpoint().encode(), _TEXT)

    @app.route("GET", "/api/ledger/key", access=access, answers={200: None}, summary="The ledger's verifier key")
    def ledger_key() -> Content:
        return Content(f"{board.ledger.key()}\n".encode(), _TEXT)

    @app.route(
        "GET",
        "/api/ledger/proof/inclusion",
        access=access,
        answers={200: ProofAnswer},
        summary="An entry is in the ledger",
    )
    def inclusion(query: _InclusionQuery) -> ProofAnswer:
        return _proof(board.ledger.inclusion(query.index, query.size))

    @app.route(
        "GET",
        "/api/ledger/proof/consistency",
        access=access,
        answers={200: ProofAnswer},
        summary="The ledger has only grown",
    )
    def consistency(query: _ConsistencyQuery) -> ProofAnswer:
        return _proof(board.ledger.consistency(query.old_size, query.new_size))


def _unreadable(_error: LedgerError) -> Unavailable:
    return Unavailable(
        "The ledger cannot be read as it should be; `agent-mesh ledger fsck` tells what is wrong with it."
    )


def _page(board: Dashboard) -> Reply | Content:
    elsewhere = board.elsewhere(flask.request)
    return _see(elsewhere) if elsewhere else _file(board, INDEX)


def _file(board: Dashboard, name: str) -> Reply | Content:
    found = board.static.get(name)
    if found is None:
        raise NotFound("The page has no such file.")
    headers = {"ETag": f'"{found.etag}"', "Cache-Control": "no-cache"}
    if flask.request.if_none_match.contains_weak(found.etag):
        return Reply(None, _NOT_MODIFIED, headers)
    return Content(found.content, found.content_type, headers=headers)


def _signed_in(board: Dashboard, query: _CallbackQuery) -> Reply | Content:
    try:
        done = board.sign_in.finish(flask.request, state=query.state, code=query.code, error=query.error)
    except NotSignedIn as failed:
        log("a sign-in came to nothing", reason=str(failed))
        return notice(400, "You are not signed in", str(failed), again={})
    except Unavailable as failed:
        return notice(failed.status, "You are not signed in", failed.detail, again={})
    try:
        authorize(done.identity, board.allowed)
    except Forbidden as refused:
        log("a stranger signed in")
        text = f"You are {done.identity.email}. An operator of this mesh has to add you to its viewers first."
        another = {"next": done.destination, "prompt": "select_account"}
        return notice(refused.status, "You may not see this mesh", text, again=another, link="Use another account")
    board.sessions.begin(done.identity)
    log("somebody signed in")
    return _see(board.origin + safe_destination(done.destination))


def _from_own_page(board: Dashboard) -> bool:
    """Tell whether a form of our own page was sent, and not one of another site (or by no browser at all)."""
    headers = flask.request.headers
    origin = headers.get("Origin")
    if origin is not None and origin != board.origin and urlsplit(origin).netloc != flask.request.host:
        return False
    return headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"


def _proof(hashes: list[bytes]) -> ProofAnswer:
    return ProofAnswer(proof=[encode_base64(each) for each in hashes])


def _see(location: str) -> Reply:
    return Reply(None, _SEE_OTHER, {"Location": location})
