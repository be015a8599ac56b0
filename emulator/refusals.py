"""What a server answers instead of a result: a gRPC status with Google's wording."""

from __future__ import annotations

from grpc import StatusCode

from emulator.errors import EmulatorError


class Refusal(EmulatorError):
    """A call that is answered with an error status."""

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
    """INVALID_ARGUMENT: the request could never succeed, whatever the server holds."""
    return Refusal(StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> Refusal:
    """NOT_FOUND: the request names something that does not exist."""
    return Refusal(StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> Refusal:
    """ALREADY_EXISTS: something that must not exist does."""
    return Refusal(StatusCode.ALREADY_EXISTS, message)


def failed_precondition(message: str) -> Refusal:
    """FAILED_PRECONDITION: not in this state."""
    return Refusal(StatusCode.FAILED_PRECONDITION, message)


def aborted(message: str) -> Refusal:
    """ABORTED: it lost against another one and may be tried again."""
    return Refusal(StatusCode.ABORTED, message)
