"""The one shape of a function: who is let in, what is read, how errors look, when events go out."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flask
import pytest
from pydantic import BaseModel, Field
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from agent_mesh.contracts.problems import PROBLEM_CONTENT_TYPE, AttemptFailed, Busy
from agent_mesh.contracts.values import Strict
from agent_mesh.platform.app import (
    BODY_LIMIT_BYTES,
    PUBLIC,
    Access,
    Content,
    FunctionApp,
    Reply,
    current_identity,
    problem_reply,
    trace_id,
)
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import LostRace
from agent_mesh.platform.logs import log
from agent_mesh.platform.oidc import Identity
from agent_mesh.platform.pubsub import Message
from agent_mesh.platform.settings import Settings
from agent_mesh.version import VERSION
from tests.conftest import HandClock
from tests.unit.platform.identities import Identities

AUDIENCE = "https://shout.example.com"
ANN = "ann@example.com"
LIMIT = 1000
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
Logged = Callable[[], list[dict[str, Any]]]


class Word(Strict):
    """What may be shouted."""

    text: str = Field(max_length=100)


class Volume(BaseModel):
    """How loud."""

    level: int = Field(default=5, ge=0, le=10)


class Room(BaseModel):
    """Where."""

    room: str = Field(min_length=2)


class Shout(BaseModel):
    """What was shouted."""

    text: str
    by: str = ""
    nothing: str | None = None


class CountingPublisher:
    """Remembers each publish call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Message]]] = []

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        self.calls.append((topic, list(messages)))
        return [str(number) for number, _ in enumerate(messages)]


@dataclass
class Function:
    """A function in hand."""

    app: FunctionApp
    events: EventLog
    publisher: CountingPublisher
    identities: Identities

    def call(
        self,
        method: str,
        path: str,
        *,
        by: str | None = ANN,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        environ: Mapping[str, Any] | None = None,
    ) -> flask.Response:
        """Answer one request, as functions-framework hands it on."""
        sent = {**(self.identities.header(by, AUDIENCE) if by else {}), **(headers or {})}
        builder = EnvironBuilder(path=path, method=method, data=body, headers=Headers(sent), environ_overrides=environ)
        return self.app.serve(flask.Request(builder.get_environ()))


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return Identities.at(tmp_path_factory.mktemp("issuer"), HandClock())


@pytest.fixture
def function(identities: Identities, clock: HandClock, logged: Logged) -> Function:
    """Shouts; `logged` stands before it, because the app writes to the standard error that it finds."""
    publisher = CountingPublisher()
    events = EventLog(publisher, "projects/p/topics/events", "shout", clock)
    settings = Settings.from_environment({"GCP_PROJECT": "p"})
    function = Function(
        FunctionApp("shout", "Shouts.", settings, identities.verifier, events), events, publisher, identities
    )
    _add_routes(function)
    _add_refusals(function)
    return function


def _add_routes(function: Function) -> None:
    app, ann = function.app, Access.of({ANN}, AUDIENCE, "")

    @app.route("POST", "/shout", access=ann, answers={200: Shout}, summary="Shout", body_limit=LIMIT)
    def shout(body: Word) -> Shout:
        log("shouting", letters=len(body.text))
        return Shout(text=body.text.upper(), by=current_identity().email)

    @app.route("PUT", "/rooms/<room>", access=ann, answers={201: Shout}, summary="Shout in a room")
    def shout_in_room(path: Room, query: Volume) -> Reply:
        return Reply(Shout(text=path.room + "!" * query.level), 201, {"Location": "/rooms/1"})

    @app.route("POST", "/whisper", answers={204: None}, summary="Nobody may")
    def whisper() -> None:
        raise AssertionError("nobody gets here")

    @app.route("GET", "/listen", access=PUBLIC, answers={204: None}, summary="Everybody may")
    def listen() -> None:
        assert current_identity().email == ""

    @app.route("DELETE", "/listen", access=PUBLIC, answers={202: None}, summary="No body", name="deafen")
    def deafen() -> Reply:
        return Reply(None, 202, {"X-Deaf": "yes"})

    @app.route("GET", "/events", access=PUBLIC, answers={204: None}, summary="Emits")
    def emits() -> None:
        function.events.emit("mesh.a", "1", {"n": 1})
        function.events.emit("mesh.b", "2", {"trace": trace_id()})


def _add_refusals(function: Function) -> None:
    app = function.app

    @app.route("POST", "/busy", access=PUBLIC, answers={204: None}, summary="Refuses")
    def busy() -> None:
        function.events.emit("mesh.a", "1", {})
        raise Busy("Not now.", retry_after_s=7)

    @app.route("GET", "/broken", access=PUBLIC, answers={204: None}, summary="Breaks")
    def broken() -> None:
        raise ZeroDivisionError("the secret is 42")

    @app.route("GET", "/contended", access=PUBLIC, answers={204: None}, summary="Loses a race")
    def contended() -> None:
        raise LostRace("10 ABORTED")

    @app.route("GET", "/refused", access=PUBLIC, answers={200: None}, summary="Answers a problem")
    def refused() -> Reply:
        return problem_reply(AttemptFailed("Again."))


def problem_of(response: flask.Response) -> dict[str, Any]:
    assert response.content_type == PROBLEM_CONTENT_TYPE
    problem: dict[str, Any] = json.loads(response.get_data())
    assert problem["status"] == response.status_code
    assert problem["type"] == f"urn:agent-mesh:problem:{problem['code']}"
    return problem


def test_a_call_reaches_its_view_and_comes_back_as_json(function: Function) -> None:
    response = function.call("POST", "/shout", body='{"text": "hé"}')
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert json.loads(response.get_data()) == {"text": "HÉ", "by": ANN}


def test_path_and_query_are_read_into_their_models(function: Function) -> None:
    response = function.call("PUT", "/rooms/hall?level=3")
    assert (response.status_code, response.headers["Location"]) == (201, "/rooms/1")
    assert json.loads(response.get_data())["text"] == "hall!!!"


@pytest.mark.parametrize(("path", "field"), [("/rooms/hall?level=11", "level"), ("/rooms/x", "room")])
def test_a_path_or_query_that_does_not_fit_names_its_field(function: Function, path: str, field: str) -> None:
    problem = problem_of(function.call("PUT", path))
    assert (problem["code"], [fault["field"] for fault in problem["errors"]]) == ("invalid_request", [field])


def test_a_view_without_an_answer_is_no_content(function: Function) -> None:
    response = function.call("GET", "/listen", by=None)
    assert (response.status_code, response.get_data()) == (204, b"")


def test_an_answer_may_have_a_status_and_headers_and_no_body(function: Function) -> None:
    response = function.call("DELETE", "/listen", by=None)
    assert (response.status_code, response.get_data(), response.headers["X-Deaf"]) == (202, b"", "yes")


def test_an_answer_may_be_bytes_of_any_type(function: Function) -> None:
    @function.app.route("GET", "/note", access=PUBLIC, answers={200: None}, summary="A note")
    def note() -> Content:
        return Content(b"\xff\n", "application/octet-stream", 206, {"ETag": '"1"'})

    response = function.call("GET", "/note", by=None)
    assert (response.status_code, response.get_data(), response.headers["ETag"]) == (206, b"\xff\n", '"1"')
    assert response.content_type == "application/octet-stream"


def test_an_answer_may_be_a_stream_that_is_closed_with_its_connection(function: Function) -> None:
    closed: list[str] = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"tick\n"
        finally:
            closed.append("closed")

    @function.app.route("GET", "/ticks", access=PUBLIC, answers={200: None}, summary="Ticks")
    def ticks() -> Content:
        return Content(endless(), "text/event-stream")

    response = function.call("GET", "/ticks", by=None)
    chunks = iter(response.response)
    assert [next(chunks), next(chunks), closed] == [b"tick\n", b"tick\n", []]
    response.close()
    assert closed == ["closed"]


def cookie_holder(request: flask.Request) -> Identity | None:
    if "session" not in request.cookies:
        return None
    if request.cookies["session"] != "good":
        raise Busy("Not this one.")
    return Identity(email="eve@example.com", subject="1")


@pytest.mark.parametrize(
    ("cookie", "by", "status", "seen"),
    [
        ("session=good", None, 200, "eve@example.com"),
        ("session=bad", None, 429, ""),
        ("", None, 401, ""),
        ("", ANN, 200, ANN),
        ("session=good", ANN, 200, ANN),
        ("session=good", "bob@example.com", 403, ""),
    ],
)
def test_another_proof_is_asked_for_only_where_there_is_no_token(
    function: Function, cookie: str, by: str | None, status: int, seen: str
) -> None:
    access = Access.of({ANN}, AUDIENCE, otherwise=cookie_holder)

    @function.app.route("GET", "/me", access=access, answers={200: Shout}, summary="Me")
    def me() -> Shout:
        return Shout(text="", by=current_identity().email)

    response = function.call("GET", "/me", by=by, headers={"Cookie": cookie} if cookie else None)
    assert response.status_code == status
    assert json.loads(response.get_data()).get("by", "") == seen


@pytest.mark.parametrize("by", [ANN, "bob@example.com"])
def test_a_route_that_names_nobody_is_for_nobody(function: Function, by: str) -> None:
    problem = problem_of(function.call("POST", "/whisper", by=by))
    assert problem["code"] in {"unauthenticated", "forbidden"}


def test_a_route_whose_audience_is_known_and_that_names_nobody_is_forbidden(function: Function) -> None:
    @function.app.route("GET", "/empty", access=Access.of((), AUDIENCE), answers={204: None}, summary="Nobody")
    def empty() -> None:
        raise AssertionError("nobody gets here")

    assert problem_of(function.call("GET", "/empty"))["status"] == 403


def test_whoever_is_not_named_is_forbidden(function: Function) -> None:
    problem = problem_of(function.call("POST", "/shout", by="bob@example.com", body='{"text": "a"}'))
    assert (problem["status"], problem["code"], problem["instance"]) == (403, "forbidden", "/shout")


def test_whoever_does_not_say_who_he_is_gets_a_challenge(function: Function) -> None:
    response = function.call("POST", "/shout", by=None, body='{"text": "a"}')
    assert problem_of(response)["code"] == "unauthenticated"
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


class Untouchable(io.RawIOBase):
    """A body that fails the test when somebody reads it."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> int:
        raise AssertionError("the body was read before the caller was known")


@pytest.mark.parametrize("by", [None, "bob@example.com"])
def test_nothing_of_the_body_is_read_before_the_caller_is_known(function: Function, by: str | None) -> None:
    environ = {"wsgi.input": Untouchable(), "CONTENT_LENGTH": "5"}
    assert function.call("POST", "/shout", by=by, environ=environ).status_code in {401, 403}


@pytest.mark.parametrize("by", [None, "bob@example.com"])
def test_a_stranger_does_not_learn_that_his_body_is_wrong(function: Function, by: str | None) -> None:
    assert function.call("POST", "/shout", by=by, body=b"\xff" * 2 * LIMIT).status_code in {401, 403}


def test_a_body_at_the_limit_is_read(function: Function) -> None:
    text = '{"text": "a"}'
    assert function.call("POST", "/shout", body=text + " " * (LIMIT - len(text))).status_code == 200


def chunked(body: bytes) -> dict[str, Any]:
    """What gunicorn makes of `Transfer-Encoding: chunked`: a stream that ends by itself, of no declared length."""
    return {
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_LENGTH": "",
    }


def test_a_chunked_body_is_read(function: Function) -> None:
    assert function.call("POST", "/shout", environ=chunked(b'{"text": "a"}')).status_code == 200


def test_a_body_above_the_limit_is_refused_whether_it_says_its_length_or_not(function: Function) -> None:
    body = b'{"text": "a"}'.ljust(LIMIT + 1)
    for response in (
        function.call("POST", "/shout", body=body),
        function.call("POST", "/shout", environ=chunked(body)),
    ):
        problem = problem_of(response)
        assert (problem["status"], problem["code"]) == (413, "body_too_large")
        assert str(LIMIT) in problem["detail"]


def test_a_route_without_a_limit_of_its_own_has_the_common_one(function: Function) -> None:
    @function.app.route("POST", "/long", access=PUBLIC, answers={204: None}, summary="Long")
    def long(body: Volume) -> None:
        assert body.level == 1

    body = b'{"level": 1}'
    assert function.call("POST", "/long", body=body.ljust(BODY_LIMIT_BYTES)).status_code == 204
    assert function.call("POST", "/long", body=body.ljust(BODY_LIMIT_BYTES + 1)).status_code == 413


def test_what_is_left_of_a_body_is_not_read_by_the_framework_after_us(function: Function) -> None:
    builder = EnvironBuilder(path="/busy", method="POST", data=b"x" * 5000)
    request = flask.Request(builder.get_environ())
    request.environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    function.app.serve(request)
    assert request.environ["wsgi.input"].read() == b""
    assert request.environ["CONTENT_LENGTH"] == "0"
    assert "HTTP_TRANSFER_ENCODING" not in request.environ


def test_an_unknown_path_is_not_found(function: Function) -> None:
    problem = problem_of(function.call("GET", "/nowhere", by=None))
    assert (problem["status"], problem["code"], problem["instance"]) == (404, "not_found", "/nowhere")


def test_another_method_is_not_allowed_and_told_which_are(function: Function) -> None:
    response = function.call("PATCH", "/listen", by=None)
    assert problem_of(response)["code"] == "method_not_allowed"
    assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"


def test_a_redirect_is_no_problem(function: Function) -> None:
    response = function.call("GET", "/docs", by=None)
    assert (response.status_code, response.headers["Location"]) == (302, "swagger")
    assert function.call("GET", "/swagger", by=None).status_code == 200


def test_a_redirect_that_werkzeug_raises_is_no_problem_either(function: Function) -> None:
    @function.app.route("GET", "/folder/", access=PUBLIC, answers={204: None}, summary="Folder")
    def folder() -> None:
        return

    response = function.call("GET", "/folder", by=None)
    assert response.status_code == 308
    assert response.headers["Location"].endswith("/folder/")


@pytest.mark.parametrize("description", ["No such tea.", None])
def test_any_other_refusal_of_the_framework_is_a_malformed_request(function: Function, description: str | None) -> None:
    @function.app.route("GET", "/teapot", access=PUBLIC, answers={204: None}, summary="Teapot")
    def teapot() -> None:
        flask.abort(418, description=description)

    problem = problem_of(function.call("GET", "/teapot", by=None))
    assert (problem["status"], problem["code"]) == (400, "malformed_request")
    assert problem["detail"]


def test_an_answer_that_the_framework_was_given_goes_out_as_it_is(function: Function) -> None:
    @function.app.route("GET", "/given", access=PUBLIC, answers={204: None}, summary="Given")
    def given() -> None:
        flask.abort(409, response=flask.make_response("as it is", 409))

    response = function.call("GET", "/given", by=None)
    assert (response.status_code, response.get_data()) == (409, b"as it is")


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "\xff"}',
        b"\xff\xfe{\x00}\x00",
        b"{",
        b"not json",
        b"[" * 100_000,
        b'{"text": ' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"text": "\\ud800"}',
        b'{"text": "a"} {"text": "b"}',
    ],
    ids=["not UTF-8", "UTF-16", "cut off", "words", "deep", "deep inside", "half a letter", "two"],
)
def test_a_body_that_cannot_be_read_is_malformed(function: Function, body: bytes) -> None:
    response = function.call("POST", "/shout", body=body[:LIMIT])
    problem = problem_of(response)
    assert (problem["status"], problem["code"]) == (400, "malformed_request")
    assert [fault["field"] for fault in problem["errors"]] == ["body"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "text"),
        (b"{}", "text"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'{"text": 5}', "text"),
        (b'{"text": "a", "volume": 11}', "volume"),
    ],
)
def test_a_body_that_does_not_fit_names_its_field(function: Function, body: bytes, field: str) -> None:
    problem = problem_of(function.call("POST", "/shout", body=body))
    assert (problem["status"], problem["code"]) == (422, "invalid_request")
    assert [fault["field"] for fault in problem["errors"]] == [field]
    assert problem["detail"].startswith(f"{field}: ")


def test_a_refusal_does_not_repeat_the_value(function: Function) -> None:
    response = function.call("POST", "/shout", body=json.dumps({"text": "hush-hush " * 20}))
    assert problem_of(response)["code"] == "invalid_request"
    assert b"hush-hush" not in response.get_data()


def test_a_hundred_faults_are_told_in_part(function: Function) -> None:
    problem = problem_of(function.call("POST", "/shout", body=json.dumps({f"f{number}": 1 for number in range(80)})))
    assert len(problem["errors"]) == 50
    assert problem["detail"].count("Extra inputs") <= 5


def test_a_refusal_says_when_to_come_again(function: Function) -> None:
    response = function.call("POST", "/busy", by=None)
    assert (problem_of(response)["code"], response.headers["Retry-After"]) == ("busy", "7")
    assert "WWW-Authenticate" not in response.headers


def test_a_refusal_that_does_not_say_when_has_no_such_header(function: Function) -> None:
    assert "Retry-After" not in function.call("GET", "/nowhere").headers


def test_a_problem_that_a_view_answers_is_one(function: Function) -> None:
    assert problem_of(function.call("GET", "/refused", by=None))["code"] == "attempt_failed"


def test_a_defect_is_told_without_details_and_logged_under_its_trace(function: Function, logged: Logged) -> None:
    response = function.call("GET", "/broken", by=None, headers=PARENT)
    problem = problem_of(response)
    assert (problem["status"], problem["code"], problem["traceId"]) == (500, "internal", TRACE)
    assert b"secret" not in response.get_data()
    assert b"ZeroDivision" not in response.get_data()
    (line,) = logged()
    assert (line["severity"], line["kind"]) == ("ERROR", "ZeroDivisionError")
    assert line["logging.googleapis.com/trace"] == f"projects/p/traces/{TRACE}"
    assert "the secret is 42" in line["exception"]


def test_a_commit_that_was_aborted_is_no_defect_and_may_be_repeated(function: Function, logged: Logged) -> None:
    response = function.call("GET", "/contended", by=None)
    assert (problem_of(response)["code"], response.headers["Retry-After"]) == ("unavailable", "1")
    assert [(line["severity"], line["reason"]) for line in logged()] == [("INFO", "10 ABORTED")]


def test_the_trace_of_the_caller_stands_in_logs_problems_and_events(function: Function, logged: Logged) -> None:
    function.call("POST", "/shout", body='{"text": "a"}', headers=PARENT)
    (line,) = logged()
    assert line["logging.googleapis.com/trace"].endswith(TRACE)
    assert problem_of(function.call("GET", "/nowhere", headers=PARENT))["traceId"] == TRACE
    function.call("GET", "/events", headers=PARENT)
    ((_, messages),) = function.publisher.calls
    assert all(message.attributes["traceparent"].startswith(f"00-{TRACE}-") for message in messages)


def test_a_call_without_a_trace_begins_one_of_its_own(function: Function) -> None:
    first, second = (problem_of(function.call("GET", "/nowhere"))["traceId"] for _ in range(2))
    assert len(first) == 32
    assert first != second


def test_the_events_of_a_call_are_published_together_once(function: Function) -> None:
    function.call("GET", "/events")
    ((topic, messages),) = function.publisher.calls
    assert topic == "projects/p/topics/events"
    assert [message.attributes["type"] for message in messages] == ["mesh.a", "mesh.b"]


def test_a_call_without_events_publishes_nothing(function: Function) -> None:
    function.call("GET", "/listen")
    assert function.publisher.calls == []


def test_the_events_of_a_refused_call_are_published_too(function: Function) -> None:
    function.call("POST", "/busy")
    assert [len(messages) for _, messages in function.publisher.calls] == [1]


def test_an_event_that_an_earlier_call_left_behind_does_not_go_out_with_the_next(function: Function) -> None:
    function.events.emit("mesh.left", "0", {})
    function.call("GET", "/events")
    function.call("GET", "/events")
    kinds = [[message.attributes["type"] for message in messages] for _, messages in function.publisher.calls]
    assert kinds == [["mesh.a", "mesh.b"]] * 2


@pytest.mark.parametrize("path", ["/health", "/healthz"])
def test_everybody_may_ask_whether_it_lives(function: Function, path: str) -> None:
    response = function.call("GET", path, by=None)
    assert json.loads(response.get_data()) == {"status": "ok", "role": "shout", "version": VERSION}


def test_the_document_says_which_routes_want_a_token(function: Function) -> None:
    document = json.loads(function.call("GET", "/openapi.json", by=None).get_data())
    assert document["paths"]["/shout"]["post"]["security"] == [{"idToken": []}]
    assert not document["paths"]["/listen"]["get"].get("security")
    assert document["components"]["securitySchemes"]["idToken"]["scheme"] == "bearer"
    assert "Problem" in document["components"]["schemas"]


def test_outside_of_a_request_there_is_no_trace_id() -> None:
    assert trace_id() == ""


def test_access_forgets_audiences_that_are_not_set() -> None:
    assert Access.of([ANN], "", AUDIENCE) == Access(frozenset({ANN}), (AUDIENCE,))
    assert not Access.of([ANN]).public
