"""A bare relay in memory, as anybody would write it: FastAPI and sse-starlette. Lost with its process, alone on it.

Run by `benchmarks/relay.py` in an environment of its own.
"""

import asyncio
import json
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI  # type: ignore[import-not-found]  # only the other environment has it
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent  # type: ignore[import-not-found]


class Publish(BaseModel):
    topic: str
    payload: dict[str, object]


app = FastAPI()
history: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=50))
queues: dict[str, set[asyncio.Queue[str]]] = defaultdict(set)


@app.post("/publish")  # type: ignore[untyped-decorator]
async def publish(body: Publish) -> dict[str, str]:
    event_id = str(time.time_ns())
    text = json.dumps({"id": event_id, "ts": time.time(), "topic": body.topic, "payload": body.payload})
    history[body.topic].append(text)
    for queue in queues[body.topic]:
        queue.put_nowait(text)
    return {"status": "ok", "event_id": event_id}


@app.get("/subscribe")  # type: ignore[untyped-decorator]
async def subscribe(topic: str) -> EventSourceResponse:
    async def events() -> AsyncIterator[ServerSentEvent]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        queues[topic].add(queue)
        try:
            for text in history[topic]:
                yield ServerSentEvent(data=text)
            yield ServerSentEvent(comment="ready")
            while True:
                yield ServerSentEvent(data=await queue.get())
        finally:
            queues[topic].discard(queue)

    return EventSourceResponse(events())


if __name__ == "__main__":
    import sys

    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
