"""What the page asks for under ``/_local/``, each path with its own answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http import HTTPStatus

from emulator.console.acts import Act, Acts, json_object
from emulator.console.answers import API_ROOT, Problem, answer, guarded, invalid
from emulator.console.documents import DocumentReader
from emulator.console.live_messages import LiveMessages
from emulator.console.pubsub_calls import PubSubCalls
from emulator.console.sources import Sources
from emulator.console.topics import listed_topics
from emulator.httpd import Reply, Request

_Handler = Callable[[Request], Reply]


class Api:
    """Answers from the services; everything it opened ends with :meth:`close`."""

    def __init__(self, sources: Sources) -> None:
        """Connect lazily."""
        self._sources = sources
        self._cleanup = ExitStack()
        self._extras = sources.extras()
        self._documents = DocumentReader(sources.firestore, sources.project)
        self._cleanup.callback(self._documents.close)
        self._pubsub = PubSubCalls(sources.pubsub, sources.project)
        self._cleanup.callback(self._pubsub.close)
        self._lock = threading.Lock()
        self._live: LiveMessages | None = None
        acts = Acts(self._extras.controls, sources.cloud).by_name()
        self._handlers: Mapping[str, tuple[str, _Handler]] = {
            "stack": ("GET", self._stack),
            "documents": ("GET", self._page_of_documents),
            "document": ("GET", self._document),
            "topics": ("GET", self._topics),
            "messages": ("GET", self._messages),
            "usage": ("GET", self._usage),
            **{name: ("POST", _doing(act)) for name, act in acts.items()},
        }

    def close(self) -> None:
        """End all streams and disconnect."""
        self._cleanup.close()

    def handle(self, request: Request) -> Reply:
        """Answer one request."""
        return guarded(lambda: self._answer(request))

    def _answer(self, request: Request) -> Reply:
        method, handler = self._handlers.get(request.path.removeprefix(API_ROOT), ("", None))
        if handler is None:
            known = ", ".join(f"{API_ROOT}{name}" for name in self._handlers)
            raise Problem(HTTPStatus.NOT_FOUND, f"the console has no {request.path}; it has {known}")
        if request.method != method:
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} takes {method}, not {request.method}")
        return handler(request)

    def _stack(self, _request: Request) -> Reply:
        sources = self._sources
        return answer(
            {
                "project": sources.project,
                "cloud": sources.cloud,
                "services": {"firestore": sources.firestore, "pubsub": sources.pubsub},
                "controls": sorted(self._extras.controls),
                "counts": self._extras.usage is not None,
                "logs": str(sources.logs),
                "functions": [
                    {"name": name, "url": one.url, "docs": one.docs, "log": one.log}
                    for name, one in sources.functions.items()
                ],
            }
        )

    def _page_of_documents(self, request: Request) -> Reply:
        token = request.query.get("pageToken", "")
        return answer(self._documents.page(request.query.get("path", ""), token))

    def _document(self, request: Request) -> Reply:
        return answer(self._documents.document(request.query.get("path", "")))

    def _topics(self, _request: Request) -> Reply:
        self._live_messages()
        return answer(listed_topics(self._pubsub, self._sources.routes, self._sources.deliveries))

    def _messages(self, request: Request) -> Reply:
        topic = request.query.get("topic", "")
        if not topic:
            raise invalid("say which topic to follow: /_local/messages?topic=NAME")
        feed = self._live_messages().follow(topic)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return Reply(HTTPStatus.OK, b"", "text/event-stream", headers, feed)

    def _usage(self, request: Request) -> Reply:
        if self._extras.usage is None:
            raise Problem(
                HTTPStatus.NOT_IMPLEMENTED,
                f"the {self._sources.cloud} cloud does not count what is used: start the stack with --cloud=embedded",
            )
        return answer(self._extras.usage(request.query))

    def _live_messages(self) -> LiveMessages:
        with self._lock:
            if self._live is None:
                self._live = LiveMessages(self._pubsub)
                self._cleanup.callback(self._live.close)
            return self._live


def _doing(act: Act) -> _Handler:
    return lambda request: answer(act(json_object(request.body)))
