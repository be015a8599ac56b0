"""What a field means where its model does not say it: `name` wherever it stands, `Model.name` in one model only.

A description in the model wins. `agent_mesh.docs` fails on a field that has neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agent_mesh.docs._markdown import Undocumented

FIELD_MEANINGS: Final = {
    "accepted": "How many were accepted.",
    "agent": "Name of the agent.",
    "at": "RFC 3339, UTC.",
    "attempt": "Number of the attempt, from 1.",
    "attempts": "How often it was tried.",
    "attributes": "The message's attributes.",
    "budgetCents": "The most that the run may cost, in cents.",
    "buried": "Tasks whose attempts were used up.",
    "by": "E-mail of who paused or resumed it.",
    "callback": "How far the callback has come.",
    "callbackUrl": "Where the result is sent, signed.",
    "callbacks": "Callbacks that were tried again.",
    "caller": "E-mail of who dispatched it.",
    "cancelRequested": "True when somebody asked a running task to stop.",
    "code": "Stable snake_case word; see [errors](errors.md).",
    "costCents": "What was charged, in cents.",
    "createdAt": "When it was accepted or refused: RFC 3339, UTC.",
    "cursor": "`nextCursor` of the page before, unchanged.",
    "dead": "The dead letters of this page.",
    "deadId": "Id of the dead letter.",
    "detail": "What happened, in words.",
    "error": "Why it did not succeed.",
    "events": "What happened, oldest first.",
    "expired": "Tasks whose `ttl` had passed.",
    "facts": "The numbers behind the words.",
    "finishedAt": "When it ended: RFC 3339, UTC.",
    "holdsFreed": "Reservations of crashed direct runs that were given back.",
    "idempotencyKey": "The same key with the same request runs and costs once.",
    "limit": "How many a page has at most.",
    "message": "What is wrong, in words.",
    "messageId": "Pub/Sub's id of the message.",
    "mode": "How the task reaches its agent.",
    "more": "True when time ran out and more is due.",
    "next": "What happens next.",
    "nextCursor": "Give it as `cursor` to get the next page; missing on the last one.",
    "notBefore": "Unix time in seconds before which it must not run.",
    "orderingKey": "Pub/Sub's ordering key.",
    "paused": "Whether it takes no work.",
    "payload": "What the agent works on; at most 256 KiB as JSON.",
    "percent": "How much is done, 0 to 100, as the handler said.",
    "postponed": "Tasks that somebody works on, or that have to wait.",
    "problem": "Why it was refused.",
    "publishTime": "When Pub/Sub took the message.",
    "reason": "Code of what went wrong; see [errors](errors.md).",
    "reasons": "Why, one sentence each.",
    "refused": "How many were refused.",
    "rejected": "Tasks whose refusal by the budget a crash had cut off.",
    "released": "Tasks of resumed agents that were sent on.",
    "replayOf": "Id of the task that this one repeats.",
    "replayedAs": "Id of the task or message that it was sent again as.",
    "replayedAt": "When it was sent again: RFC 3339, UTC.",
    "republished": "Tasks that were published again.",
    "result": "What the handler returned; at most 512 KiB as JSON.",
    "results": "One answer for each task, in order.",
    "retryable": "Whether another try may go well.",
    "role": "Name of the role.",
    "settled": "Tasks that had ended and had not been told so.",
    "sizeBytes": "Bytes of the message, or of the task's payload.",
    "status": "Where it stands.",
    "subscription": "Full name of the subscription.",
    "summary": "The state in one sentence.",
    "task": "The task.",
    "taskId": "Id of the task.",
    "tasks": "The tasks of this page.",
    "title": "The kind of problem, in words.",
    "topic": "Topic that it was on.",
    "traceId": "W3C trace id; the logs have it too.",
    "ttl": "Unix time in seconds after which it must not run.",
    "updatedAt": "When it last changed: RFC 3339, UTC.",
    "version": "Version of the mesh.",
    "waitSeconds": "How long to stay for tasks that fall due meanwhile.",
    "CallbackState.status": "`failed` after the last of 6 tries, or when the receiver refused it for good.",
    "Problem.status": "The HTTP status.",
    "Problem.detail": "What was wrong, with which value, and what to do.",
    "PushEnvelope.message": "The message.",
    "Health.status": "`ok`.",
    "DeadReplay.messageId": "Pub/Sub's id of the message that was published again.",
    "DeadReplay.task": "The new task, where the dead letter belonged to one.",
    "BatchAnswer.task": "The accepted task, or the first one with its key.",
    "RunRequest.taskId": "Id of the task that the run is for; direct callers may leave it out.",
    "RunRequest.callbackUrl": "Where the result of a direct run is sent; for a task the orchestrator calls back.",
    "query.status": "Only tasks in this state.",
    "query.agent": "Only of this agent.",
    "query.idempotencyKey": "Only with this key.",
    "query.reason": "Only with this reason.",
    "query.taskId": "Only of this task.",
    "AgentState.since": "When it was paused or resumed: RFC 3339, UTC.",
}


def meaning(owner: str, field: str, schema: Mapping[str, Any]) -> str:
    """Return what the model says of a field, else what it means in this model, else wherever it stands."""
    said: str = schema.get("description") or FIELD_MEANINGS.get(f"{owner}.{field}") or FIELD_MEANINGS.get(field) or ""
    if not said:
        message = f"field {field} of {owner} has neither a description nor a meaning in agent_mesh/docs/_fields.py"
        raise Undocumented(message)
    return said
