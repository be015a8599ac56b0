"""What the server refuses, as the gRPC status that the client sees."""

from __future__ import annotations

from grpc import StatusCode


class Refusal(Exception):
    """A request that is answered with an error status."""

    def __init__(self, code: StatusCode, message: str) -> None:
        """Remember the status and its message."""
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def number(self) -> int:
        """The status code as ``google.rpc.Status`` writes it."""
        return int(self.code.value[0])


def invalid(message: str) -> Refusal:
    """The request is wrong whatever the database holds."""
    return Refusal(StatusCode.INVALID_ARGUMENT, message)


def failed_precondition(message: str) -> Refusal:
    """The database is not in the state that the request asks for."""
    return Refusal(StatusCode.FAILED_PRECONDITION, message)


def not_found(message: str) -> Refusal:
    """A document that must exist does not."""
    return Refusal(StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> Refusal:
    """A document that must not exist does."""
    return Refusal(StatusCode.ALREADY_EXISTS, message)


def aborted(message: str) -> Refusal:
    """The transaction lost against another one and may be tried again."""
    return Refusal(StatusCode.ABORTED, message)
