"""Requests as they arrive: bytes that may be anything."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from emulator.firestore.protocol import Message
from emulator.refusals import invalid

LARGEST_REQUEST: Final = 10 * 1024 * 1024


def parse(kind: Message, request: bytes) -> Message:
    """Read a request. Raises Refusal for what is no such message, or is larger than Firestore takes."""
    if len(request) > LARGEST_REQUEST:
        raise invalid(f"Request payload size exceeds the limit: {LARGEST_REQUEST} bytes.")
    try:
        return kind.FromString(request)
    except (DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"The request is not a {kind.DESCRIPTOR.full_name}: {error}") from None
