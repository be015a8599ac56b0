"""Intents: published on the relay, decided by policy, kept in the ledger, proved to whoever asks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from agent_mesh.client import AuditClient, MeshClientError, RelayClient, RelayGap
from agent_mesh.ledger import (
    LedgerError,
    Receipt,
    VerifierKey,
    open_checkpoint,
    parse_note,
    parse_verifier_key,
    verify_receipt,
)
from examples.demo.documents import ROOT
from examples.demo.proofs import ProofFailedError, check, prove
from examples.demo.shown import console

SAMPLES: Final = ROOT / "examples" / "intents" / "mixed.jsonl"
INTENTS: Final = "access.intent"
DECISIONS: Final = "mesh.access.decided"
PATIENCE_S: Final = 20.0
LOOK_S: Final = 0.2


@dataclass(frozen=True)
class Decided:
    """What became of one intent: the decision as it was seen live, and its entry in the ledger with its receipt."""

    intent: dict[str, Any]
    decision: dict[str, Any]
    seconds: float
    receipt: Receipt


def decide_and_prove(stack_file: Path, task_id: str, run_key: str) -> bool:
    """Publish intents, show what policy made of them, and return whether the ledger proves all of it."""
    with RelayClient.from_stack(stack_file) as relay, AuditClient.from_stack(stack_file) as audit:
        key = parse_verifier_key(audit.key())
        seen = sorted(_decisions(relay, run_key), key=lambda each: str(each[0]["tx_id"]))
        decided = [_settled(audit, each) for each in seen]
        console.print(_table(decided, key))
        proofs = {
            "decisions are kept": lambda: _prove_receipts([each.receipt for each in decided], key),
            "tasks are kept": lambda: _prove_task(audit, task_id, key),
            "forgery is refused": lambda: _prove_forgery(decided[0].receipt, key),
            "nothing was changed": lambda: _prove_whole(audit, key),
        }
        held = [prove(name, proof) for name, proof in proofs.items()]
    return all(held)


def _decisions(relay: RelayClient, run_key: str) -> Iterator[tuple[dict[str, Any], dict[str, Any], float]]:
    """Publish the samples; yield each with its decision, as the live stream brings it, and after how many seconds."""
    intents = [json.loads(line) for line in SAMPLES.read_text().splitlines() if line]
    sent: dict[str, tuple[dict[str, Any], float]] = {}
    for number, intent in enumerate(intents):
        intent["tx_id"] = f"demo-{run_key}-intent-{number}"
        sent[intent["tx_id"]] = intent, time.time()
        relay.publish(INTENTS, intent, idempotency_key=intent["tx_id"])
    for message in relay.watch(DECISIONS):
        if isinstance(message, RelayGap):
            continue
        known = sent.pop(str(message.payload.get("subject")), None)
        if known is not None:
            yield known[0], _object(message.payload["data"]), message.ts - known[1]
        if not sent:
            return


def _settled(audit: AuditClient, seen: tuple[dict[str, Any], dict[str, Any], float]) -> Decided:
    """Return a decision with its receipt, once the ledger has it: a commit gathers what comes within its interval."""
    intent, decision, seconds = seen
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for record in _records(audit, intent["tx_id"]):
            if record.event == DECISIONS and record.receipt is not None:
                return Decided(intent, decision, seconds, record.receipt)
        time.sleep(LOOK_S)
    raise ProofFailedError(f"the ledger has no decision of {intent['tx_id']} after {PATIENCE_S:.0f} s")


def _records(audit: AuditClient, tx_id: str) -> list[Any]:
    try:
        return list(audit.records(tx_id).records)
    except MeshClientError as error:
        if getattr(error, "status", None) == 404:  # noqa: PLR2004  # as everybody knows it
            return []
        raise


def _table(decided: Sequence[Decided], key: VerifierKey) -> Table:
    caption = "after: from publishing the intent to the decision in the live stream"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, caption=caption)
    for column in ("who", "wants to", "at risk", "decision", "because of", "after", "entry", "receipt"):
        table.add_column(column, justify="right" if column in {"at risk", "after", "entry"} else "left")
    for each in decided:
        subject, resource, context = (each.intent[name] for name in ("subject", "resource", "context"))
        allowed = each.decision["decision"] == "allow"
        reasons = ", ".join(each.decision["reasons"]) or each.decision["policy_ref"]
        table.add_row(
            f"{subject['id']} of {subject['enterprise']}",
            f"{resource['scope']} {resource['id']}",
            str(context["session_risk"]),
            Text(each.decision["decision"], "green" if allowed else "bold red"),
            reasons,
            f"{each.seconds * 1000:.0f} ms",
            str(each.receipt.index),
            _verified(each.receipt, key),
        )
    return table


def _verified(receipt: Receipt, key: VerifierKey) -> Text:
    try:
        verify_receipt(receipt, key)
    except LedgerError as error:
        return Text(error.code, "bold red")
    return Text("verified", "green")


def _prove_receipts(receipts: Sequence[Receipt], key: VerifierKey) -> str:
    """Verify each receipt with the ledger's key alone: nobody is asked."""
    verified = [verify_receipt(receipt, key) for receipt in receipts]
    check(all(each.entry.event == DECISIONS for each in verified), "a receipt is of something else than a decision")
    return f"{len(verified)} receipts verified offline, under the key {key}"


def _prove_task(audit: AuditClient, task_id: str, key: VerifierKey) -> str:
    """Look for the whole life of a task in the ledger."""
    until, events = time.monotonic() + PATIENCE_S, list[str]()
    while time.monotonic() < until:
        records = _records(audit, task_id)
        events = [verify_receipt(record.receipt, key).entry.event for record in records if record.receipt]
        if "mesh.task.succeeded" in events:
            return f"{', '.join(sorted(event.removeprefix('mesh.') for event in events))}, each with its receipt"
        time.sleep(LOOK_S)
    raise ProofFailedError(f"of {task_id} the ledger has only {events}")


def _prove_forgery(receipt: Receipt, key: VerifierKey) -> str:
    """Turn a decision around in its receipt."""
    words = ('"decision":"allow"', '"decision":"deny"')
    there, other = words if words[0] in receipt.entry else words[::-1]
    check(there in receipt.entry, "the receipt has no decision in it")
    try:
        verify_receipt(receipt.model_copy(update={"entry": receipt.entry.replace(there, other)}), key)
    except LedgerError as error:
        return f"{error.code}: {error}"
    raise ProofFailedError("a forged receipt was verified")


def _prove_whole(audit: AuditClient, key: VerifierKey) -> str:
    """Have every stored byte read again."""
    from agent_mesh.contracts.audit import FsckRequest

    size, bundle, found = 0, 0, list[str]()
    while True:
        report = audit.fsck(FsckRequest(first_bundle=bundle))
        size, found = report.size, found + [f"{each.place}: {each.fault}" for each in report.findings]
        if report.next_bundle is None:
            break
        bundle = report.next_bundle
    check(not found, "; ".join(found[:3]))
    signed = open_checkpoint(parse_note(audit.checkpoint()), key)
    check(signed.size >= size, f"the signed checkpoint has {signed.size} entries and the ledger {size}")
    return f"{size} entries read again, the root is the signed one"


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProofFailedError(f"an event's data is {type(value).__name__}")
    return value
