"""Threads that evaluate, so that whoever asks can stop waiting. The engine itself cannot be interrupted.

A worker that does not come back in time is out of the pool until it does: endless evaluations can take all workers,
after which everything is refused at once, and never more than these threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, LifoQueue, SimpleQueue
from time import monotonic
from typing import Final, TypeAlias

from pydantic import JsonValue

from agent_mesh.policy.errors import NoAnswer, Refusal

Evaluation: TypeAlias = Callable[[str, str], JsonValue]
"""From an entry point and an input to its value."""

_Answer: TypeAlias = tuple[JsonValue, NoAnswer | None]
_Question: TypeAlias = tuple[str, str, "SimpleQueue[_Answer]"]

THREAD_NAME: Final = "policy"


class Workers:
    """A fixed number of threads, each with an evaluation of its own."""

    def __init__(self, count: int, make_evaluation: Callable[[], Evaluation], timeout_s: float) -> None:
        """Start the threads; each makes its own evaluation, for no two may use one interpreter."""
        self._timeout_s = timeout_s
        self._idle: LifoQueue[SimpleQueue[_Question | None]] = LifoQueue()
        self._inboxes: list[SimpleQueue[_Question | None]] = [SimpleQueue() for _ in range(count)]
        for inbox in self._inboxes:
            arguments = (inbox, self._idle, make_evaluation)
            threading.Thread(target=_work, args=arguments, name=THREAD_NAME, daemon=True).start()
            self._idle.put(inbox)

    def ask(self, entrypoint: str, text: str) -> JsonValue:
        """Return the value; raise `NoAnswer` when there is none within the time, waiting for a worker included."""
        deadline = monotonic() + self._timeout_s
        try:
            inbox = self._idle.get(timeout=self._timeout_s)
        except Empty:
            raise NoAnswer(Refusal.OVERLOADED, f"No evaluation could begin within {self._timeout_s} s.") from None
        reply: SimpleQueue[_Answer] = SimpleQueue()
        inbox.put((entrypoint, text, reply))
        try:
            value, failure = reply.get(timeout=max(0.001, deadline - monotonic()))
        except Empty:
            raise NoAnswer(Refusal.TIMED_OUT, f"{entrypoint} had no answer within {self._timeout_s} s.") from None
        if failure is not None:
            raise failure
        return value

    def stop(self) -> None:
        """Let each thread end when it has done what it is at."""
        for inbox in self._inboxes:
            inbox.put(None)


def _work(
    inbox: SimpleQueue[_Question | None],
    idle: LifoQueue[SimpleQueue[_Question | None]],
    make_evaluation: Callable[[], Evaluation],
) -> None:
    evaluate = make_evaluation()
    while (question := inbox.get()) is not None:
        entrypoint, text, reply = question
        answer = _answered(evaluate, entrypoint, text)
        idle.put(inbox)
        reply.put(answer)


def _answered(evaluate: Evaluation, entrypoint: str, text: str) -> _Answer:
    try:
        return evaluate(entrypoint, text), None
    except NoAnswer as failure:
        return None, failure
    except Exception as error:  # noqa: BLE001 - whatever a native engine raises is a denial, and the worker lives on
        return None, NoAnswer(Refusal.FAILED, f"Evaluating {entrypoint} raised {type(error).__name__}.")
