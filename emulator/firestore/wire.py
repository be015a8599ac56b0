"""Answers that carry a stored document, put together from bytes: the document is never parsed and written again.

Fields of a message may come in any order, so a length-delimited field can be appended to the rest of the message.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Final

_DOCUMENT: Final = b"\x0a"
"""Tag of field 1, length-delimited: ``document`` of RunQueryResponse, ``found`` of BatchGetDocumentsResponse."""

_SEVEN_BITS: Final = 0x7F
_MORE: Final = 0x80


def with_document(document: bytes, rest: bytes) -> bytes:
    """A message whose field 1 is the document and whose other fields are ``rest``."""
    return _DOCUMENT + varint(len(document)) + document + rest


def varint(number: int) -> bytes:
    """A base 128 varint."""
    out = bytearray()
    while number > _SEVEN_BITS:
        out.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    out.append(number)
    return bytes(out)
