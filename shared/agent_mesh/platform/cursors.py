"""Cursors: where a page of a list ended, as text that the request for the next page brings back unchanged."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter

from agent_mesh.contracts.problems import FieldFault, InvalidRequest
from agent_mesh.contracts.values import TaskId, UnixSeconds
from agent_mesh.platform.clock import moment

_POSITION: Final = TypeAdapter(tuple[UnixSeconds, TaskId])


def cursor_after(at: datetime, document_id: str) -> str:
    """Return the cursor of what comes after a document; several may have the same time, so its id counts as well."""
    position = json.dumps([at.timestamp(), document_id]).encode()
    return base64.urlsafe_b64encode(position).decode().rstrip("=")


def position_of(cursor: str) -> tuple[datetime, str]:
    """Return time and id of the document after which a page begins; raise `InvalidRequest` for a made-up cursor."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        unix_seconds, document_id = _POSITION.validate_json(text)
        return moment(unix_seconds + 0.0001), document_id
    except (binascii.Error, ValueError, OverflowError, OSError) as error:
        fault = FieldFault(field="cursor", message="is not a cursor that a page of this list gave")
        detail = "cursor: take `nextCursor` of the page before, unchanged."
        raise InvalidRequest(detail, errors=[fault]) from error
