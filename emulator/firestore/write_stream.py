"""The Write stream: a handshake that names the stream, then commits in order, each answered.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#google.firestore.v1.WriteRequest
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator

from emulator.firestore.engine import Engine
from emulator.firestore.names import parse_database
from emulator.firestore.protocol import Message, WriteRequest, WriteResponse
from emulator.firestore.requests import parse
from emulator.firestore.values import timestamp_of
from emulator.firestore.writes import plan_write
from emulator.refusals import invalid


async def write_stream(engine: Engine, requests: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Answer each request of a stream. Raises Refusal, which ends it."""
    database, stream_id, number = "", "", 0
    async for received in requests:
        request = parse(WriteRequest, received)
        if not database:
            database = parse_database(request.database)
            stream_id = request.stream_id or os.urandom(8).hex()
            if request.writes:
                raise invalid("The first request of a write stream must not contain writes.")
            response: Message = WriteResponse(stream_id=stream_id)
        else:
            response = await _committed(engine, database, request)
        number += 1
        response.stream_token = number.to_bytes(8)
        yield response.SerializeToString()


async def _committed(engine: Engine, database: str, request: Message) -> Message:
    if request.database and request.database != database:
        raise invalid("A stream writes to one database.")
    writes = [plan_write(write, database) for write in request.writes]
    done = await engine.commit("Write", database, writes, b"")
    return WriteResponse(write_results=done.results, commit_time=timestamp_of(done.commit.time))
