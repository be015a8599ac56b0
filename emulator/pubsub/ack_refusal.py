"""The refusal of ack ids under exactly-once delivery, which says of each why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from grpc import StatusCode

from emulator.refusals import Refusal

_DOMAIN: Final = "pubsub.googleapis.com"
_TEXT: Final = "Some acknowledgement ids in the request were invalid. This could be because they have expired."


class AckRefusal(Refusal):
    """``reasons`` is the metadata of an ErrorInfo: ack id -> why it failed."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(StatusCode.FAILED_PRECONDITION, _TEXT)
        self.reasons = reasons

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """The trailing metadata that carries the reasons (google.rpc.Status)."""
        from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

        status = status_pb2.Status(code=self.number, message=self.message)
        info = error_details_pb2.ErrorInfo(reason="ACK_IDS_FAILED", domain=_DOMAIN, metadata=dict(self.reasons))
        status.details.add().Pack(info)
        return (("grpc-status-details-bin", status.SerializeToString()),)
