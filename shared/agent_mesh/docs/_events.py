"""`docs/events.md`: what the topic `events` carries. The code that tells of tasks and runs is run to see it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from agent_mesh.agents.delivery import OutcomeSender, Topics
from agent_mesh.agents.execution import Ran
from agent_mesh.agents.records import Outcome
from agent_mesh.budgets import Budgets, BudgetState
from agent_mesh.contracts.events import CloudEvent
from agent_mesh.contracts.policy import AccessIntent
from agent_mesh.contracts.problems import TopicDenied
from agent_mesh.contracts.runs import RunStatus
from agent_mesh.contracts.tasks import DispatchRequest, TaskStatus
from agent_mesh.dispatch.admission import Terms, new_task
from agent_mesh.dispatch.results import Results
from agent_mesh.dispatch.store import TaskStore
from agent_mesh.docs._markdown import code, require_equal, table
from agent_mesh.ledger import Checkpoint, Note, nodes_from_leaves
from agent_mesh.ledger.audit_log import tell_checkpoint
from agent_mesh.ledger.sequencer import Committed
from agent_mesh.ledger.tree import EMPTY_ROOT
from agent_mesh.ledger.witness_routes import tell_witnessed
from agent_mesh.ledger.witnessing import Round
from agent_mesh.platform.clock import SystemClock, moment
from agent_mesh.platform.events import EventLog
from agent_mesh.platform.firestore import FirestoreClient
from agent_mesh.platform.pubsub import Message
from agent_mesh.platform.settings import Settings
from agent_mesh.policy import Policy, packaged_bundle
from agent_mesh.policy.acts import THROWN, tell_thrown, tell_uploaded
from agent_mesh.policy.evaluation import AccessDecisions
from agent_mesh.policy.shadow import Shadow
from agent_mesh.policy.switch import Switch
from agent_mesh.policy.versions import StoredVersion
from agent_mesh.relay.permissions import Action, TopicPermissions
from agent_mesh.webhooks import Callbacks

_TOPIC: Final = "events"

_MEANINGS: Final = {
    "mesh.task.accepted": "The task is stored and its budget reserved.",
    "mesh.task.succeeded": "The result counts and was charged.",
    "mesh.task.failed": "The run failed and will not be repeated.",
    "mesh.task.expired": "The `ttl` passed before a result was in.",
    "mesh.task.cancelled": "Somebody cancelled it before it ended.",
    "mesh.task.rejected": "It was refused before it ran; `code` says why.",
    "mesh.task.dead": "It failed for good and lies with the dead letters.",
    "mesh.budget.threshold": "An agent's budget of the day reached 50, 80 or 100 % of its limit.",
    "mesh.run.succeeded": "The handler returned a result.",
    "mesh.run.failed": "The handler failed and the attempt is not repeated.",
    "mesh.run.retrying": "The attempt failed and may be repeated.",
    "mesh.run.expired": "The run was delivered after its `ttl` and did not start.",
    "mesh.run.cancelled": "The handler saw that its task was cancelled and stopped.",
    "mesh.run.rejected": "The run costs more than `budgetCents` and did not start.",
    "mesh.run.dead": "The handler raised `TerminalError`.",
    "mesh.access.requested": "Somebody asked for access: an intent of the relay, or a call of `/evaluate`.",
    "mesh.access.decided": "Policy decided about it; the subject is the transaction, as above.",
    "mesh.policy.uploaded": "A bundle passed its tests and was stored; the subject is its version.",
    "mesh.policy.activated": "A version came into force.",
    "mesh.policy.rolled_back": "The version before the last activation came into force again.",
    "mesh.policy.shadowed": "A version is compared with the one in force from now on.",
    "mesh.policy.unshadowed": "No version is compared any more.",
    "mesh.policy.differs": "The shadow decides otherwise about what was asked, without effect. Any role tells it, "
    "at most 10 times a minute in each instance; the subject is the digest of the decision that counts.",
    "mesh.relay.denied": "Policy did not let somebody publish on a topic, or read it; the subject is the topic.",
    "mesh.ledger.checkpoint": "A commit has added entries to the ledger and signed it. `subject` is the ledger's name.",
    "mesh.ledger.witnessed": "Witnesses have cosigned a checkpoint.",
}

_FIELDS: Final = {
    "action": "`publish` or `subscribe`.",
    "active": "The version in force now.",
    "actor": "E-mail of who did it, or the topic on which it was asked.",
    "added": "How many entries a commit has added.",
    "agent": "Name of the agent.",
    "attempt": "Number of the attempt that was asked for or started, from 1.",
    "caller": "E-mail of who dispatched the task, or asked.",
    "code": "Code of `task.error`, null without one; see [errors](errors.md).",
    "context": "The circumstances, as they were given.",
    "cosigned": "Names of the witnesses that have cosigned the checkpoint.",
    "costCents": "What was charged, in cents.",
    "decision": "`allow` or `deny`.",
    "digest": "Hash of policy version, kind of decision and input: the same is decided again.",
    "explanation": "The decision in words.",
    "in_force": "The decision that counts: `decision`, `reasons`, `policy_ref`, `policy_version`.",
    "in_shadow": "The same of the shadow's.",
    "kind": "What kind of decision it was.",
    "limitCents": "What the agent may spend, in cents.",
    "omitted": "Of an intent over 64 KiB its `bytes` and `sha256`, in place of what it holds; else null.",
    "obligations": "What the subject is bound to; empty on a denial.",
    "missing": "Names of the witnesses that have not.",
    "origin": "Name of the ledger.",
    "percent": "50, 80 or 100.",
    "policy": "The decision that let the task in or refused it: `ref`, `version`, `digest`, `reasons`; null without.",
    "policy_ref": "`FILE#RULE` that decided.",
    "policy_version": "Hash of the rules that decided.",
    "reasons": "Stable codes of what speaks against it.",
    "release": "What people call the version.",
    "resource": "What was asked for, as it was given.",
    "revision": "How often the switch was thrown.",
    "risk_after": "The session's risk from now on.",
    "root": "Root of the ledger's tree: base64 of 32 bytes.",
    "shadow": "The version that is compared with it, null without.",
    "size": "How many entries the ledger has.",
    "status": "Status of the task.",
    "subject": "Who asked, as it was given.",
    "suppressed": "How many more differences this instance did not tell since the last one.",
    "tests": "How many tests it passed.",
    "traceId": "The task's trace id.",
    "usedCents": "What is reserved or spent of it, in cents.",
}

_ENVELOPE: Final = {
    "specversion": "`1.0`.",
    "type": "What happened, see above.",
    "datacontenttype": "`application/json`.",
    "traceparent": "W3C trace context of the call that saw it happen.",
    "data": "Small; see above.",
}

_INTRODUCTION: Final = """\
Topic `events` carries [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) as
JSON, one a message. The message's attributes repeat `type`, `subject` and `traceparent`, so that a subscription can
filter on them. All events of one call are published together when the call ends.

Events tell, they do not decide: the state is in Firestore. An event may come twice (its `id` is then the same). The
end of a task is told at least once, whatever dies in between; another event may be lost if a process dies between its
commit and its publish. They hold no payload and no result. `delivered` and `running` are
derived from the run's claim and have no event.
"""


@dataclass
class _Kept:
    """Keeps what would be published."""

    messages: list[Message] = field(default_factory=list)

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Keep messages for the topic of events."""
        if topic == _TOPIC:
            self.messages += messages
        return [str(number) for number in range(len(messages))]


def page() -> str:
    """Return the page."""
    events = emitted()
    require_equal("events", [event.type for event in events], _MEANINGS)
    require_equal("event fields", {name for event in events for name in event.data}, _FIELDS)
    rows = [
        [code(event.type), code(event.source), ", ".join(map(code, event.data)), _MEANINGS[event.type]]
        for event in events
    ]
    envelope = [
        [code(name), _ENVELOPE.get(name) or known.description or ""] for name, known in CloudEvent.model_fields.items()
    ]
    return "\n\n".join(
        [
            _INTRODUCTION.strip(),
            "## Types\n\n" + table(["type", "source", "data", "when"], rows),
            "## Fields of `data`\n\n" + table(["field", "meaning"], [[code(n), _FIELDS[n]] for n in sorted(_FIELDS)]),
            "## The envelope\n\n" + table(["field", "meaning"], envelope),
        ]
    )


def emitted() -> list[CloudEvent]:
    """Return one event of every type, as the code makes it; a run's source is the agent's name."""
    return [*_task_events(), *_run_events(), *_access_events(), *_policy_events(), *_relay_events(), *_ledger_events()]


def _task_events() -> list[CloudEvent]:
    clock, kept = SystemClock(), _Kept()
    log = EventLog(kept, _TOPIC, "orchestrator", clock)
    database = FirestoreClient("none")
    tasks = TaskStore(database, Budgets(database, 0), clock)
    results = Results(tasks, Callbacks((), (), clock), log, clock)
    now = clock.now()
    request = DispatchRequest(agent="light", payload={}, ttl=now + 60, budget_cents=1)
    task = new_task(request, "developer@example.com", "", now, Terms(None, 60, 30))
    log.begin()
    results.tell_accepted([task], BudgetState(used_cents=1, limit_cents=2))
    for status in TaskStatus:
        if status.terminal:
            results.tell(task.finished(status, now))
    log.flush()
    return _read(kept)


def _run_events() -> list[CloudEvent]:
    clock, kept = SystemClock(), _Kept()
    log = EventLog(kept, _TOPIC, "AGENT", clock)
    sender = OutcomeSender("light", kept, Topics("results", "tasks-dead"), Callbacks((), (), clock), log, clock)
    log.begin()
    for status in RunStatus:
        sender.tell("task_1", Ran(Outcome(status), attempt=1))
    sender.tell("task_1", Ran(Outcome(RunStatus.FAILED), attempt=1, retryable=True))
    log.flush()
    return _read(kept)


def _access_events() -> list[CloudEvent]:
    clock, kept = SystemClock(), _Kept()
    log = EventLog(kept, _TOPIC, "policy", clock)
    log.begin()
    policy = Policy(packaged_bundle("mesh"))
    AccessDecisions(policy, log, clock).evaluate(AccessIntent(subject={}, resource={}, context={}), "a@example.com")
    policy.close()
    return _read(kept)


def _policy_events() -> list[CloudEvent]:
    clock, kept = SystemClock(), _Kept()
    log = EventLog(kept, _TOPIC, "policy", clock)
    log.begin()
    tell_uploaded(log, StoredVersion("sha256:", "1.0.0", 1, moment(clock.now()), "a@example.com", 1))
    for kind in THROWN:
        tell_thrown(log, kind, "mesh", Switch(revision=1, changed_by="a@example.com"))
    policy = Policy(packaged_bundle("mesh"))
    decision = policy.decide("access", {})
    Shadow("", policy, clock, log).compare(decision.model_copy(update={"allow": True}), {})
    policy.close()
    log.flush()
    return _read(kept)


def _relay_events() -> list[CloudEvent]:
    clock, kept = SystemClock(), _Kept()
    log = EventLog(kept, _TOPIC, "relay", clock)
    log.begin()
    nobody = TopicPermissions(Policy(packaged_bundle("mesh")), Settings.from_environment({}), log)
    with suppress(TopicDenied):
        nobody.require("developer@example.com", Action.PUBLISH, ["mesh.task.accepted"])
    log.flush()
    return _read(kept)


def _ledger_events() -> list[CloudEvent]:
    kept = _Kept()
    log = EventLog(kept, _TOPIC, "audit", SystemClock())
    log.begin()
    checkpoint = Checkpoint("ledger.example", 0, EMPTY_ROOT)
    tell_checkpoint(log, Committed({}, {}, checkpoint, Note(checkpoint.text, ()), nodes_from_leaves([])))
    tell_witnessed(log, "ledger.example", Round(1, ("witness.example",), {}, 1))
    log.flush()
    return _read(kept)


def _read(kept: _Kept) -> list[CloudEvent]:
    return [CloudEvent.model_validate(json.loads(message.data)) for message in kept.messages]
