"""What the service answers instead of a result: a gRPC status code with Google's wording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from grpc import StatusCode

from emulator.errors import EmulatorError

_DOMAIN: Final = "pubsub.googleapis.com"


class Refused(EmulatorError):
    """A call that is answered with a status code.

    ``reasons`` is the metadata of an ErrorInfo: for exactly-once delivery, ack id -> why it failed.
    """

    def __init__(self, code: StatusCode, message: str, reasons: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reasons = reasons or {}

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """The trailing metadata that carries the reasons (google.rpc.Status)."""
        if not self.reasons:
            return ()
        from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

        status = status_pb2.Status(code=self.code.value[0], message=str(self))
        info = error_details_pb2.ErrorInfo(reason="ACK_IDS_FAILED", domain=_DOMAIN, metadata=dict(self.reasons))
        status.details.add().Pack(info)
        return (("grpc-status-details-bin", status.SerializeToString()),)


def invalid(message: str) -> Refused:
    """INVALID_ARGUMENT: the request could never succeed."""
    return Refused(StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> Refused:
    """NOT_FOUND: the request names something that does not exist."""
    return Refused(StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> Refused:
    """ALREADY_EXISTS: the name is taken."""
    return Refused(StatusCode.ALREADY_EXISTS, message)


def failed_precondition(message: str) -> Refused:
    """FAILED_PRECONDITION: not in this state."""
    return Refused(StatusCode.FAILED_PRECONDITION, message)
