"""How the console answers: JSON, and errors that say what was wrong and what to do."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from emulator.console.sources import Json
from emulator.errors import EmulatorError
from emulator.httpd import Reply, json_reply

API_ROOT: Final = "/_local/"
OWN_REQUEST_ID: Final = "local-console"
"""What the console's own calls are called in the counts of usage."""

_STATUSES: Final = {
    "INVALID_ARGUMENT": HTTPStatus.BAD_REQUEST,
    "FAILED_PRECONDITION": HTTPStatus.BAD_REQUEST,
    "OUT_OF_RANGE": HTTPStatus.BAD_REQUEST,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "ALREADY_EXISTS": HTTPStatus.CONFLICT,
    "ABORTED": HTTPStatus.CONFLICT,
    "UNIMPLEMENTED": HTTPStatus.NOT_IMPLEMENTED,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
}


class Problem(Exception):
    """A request that is refused, with the status and the text of the refusal."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        """The message is shown to a person."""
        super().__init__(message)
        self.status = status

    def reply(self) -> Reply:
        """The refusal as JSON."""
        code = self.status.name.lower()
        return answer({"error": {"status": self.status.value, "code": code, "message": str(self)}}, self.status)


def invalid(message: str) -> Problem:
    """The request is wrong."""
    return Problem(HTTPStatus.BAD_REQUEST, message)


def answer(value: Json, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    """JSON that no cache keeps."""
    return json_reply(value, status, Cache_Control="no-store")


def guarded(act: Callable[[], Reply]) -> Reply:
    """The reply of an act, or that of the problem it met in a service."""
    import grpc

    try:
        return act()
    except Problem as problem:
        return problem.reply()
    except grpc.RpcError as error:
        return refused(error).reply()
    except EmulatorError as error:
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)).reply()


def refused(error: Any) -> Problem:  # noqa: ANN401  # a grpc.RpcError, which declares neither code nor details
    """A service's refusal as ours."""
    code = error.code().name
    text = error.details() or code
    return Problem(_STATUSES.get(code, HTTPStatus.BAD_GATEWAY), f"{code}: {text}")
