"""A ledger in memory whose entries, proofs, signatures and receipts are made by `agent_mesh.ledger` itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from agent_mesh.contracts.values import JsonObject
from agent_mesh.ledger import (
    AuditEntry,
    Checkpoint,
    LedgerLeaf,
    LocalSigner,
    Note,
    Receipt,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    nodes_from_leaves,
    sign_note,
    to_leaf,
    tree_root,
    verifier_key,
)

ORIGIN: Final = "ledger.example/mesh"


@dataclass
class SmallLedger:
    """Grows entry by entry; every checkpoint is of all that is there."""

    signer: LocalSigner = field(default_factory=lambda: LocalSigner(ORIGIN, bytes(range(32))))
    leaves: list[LedgerLeaf] = field(default_factory=list)
    entries: list[AuditEntry] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The verifier key's line."""
        return str(verifier_key(self.signer))

    def append(self, tx_id: str, event: str, actor: str, ts: str, payload: JsonObject) -> int:
        """Add an entry; return its index."""
        index = len(self.leaves)
        entry = AuditEntry(id=f"ev_{index:06d}", tx_id=tx_id, event=event, actor=actor, ts=ts, payload=payload)
        self.entries.append(entry)
        self.leaves.append(to_leaf(entry))
        return index

    def checkpoint(self, size: int | None = None) -> Note:
        """Return the signed checkpoint of the first `size` entries, of all without one."""
        hashes = self._hashes[: len(self.leaves) if size is None else size]
        return sign_note(Checkpoint(self.signer.name, len(hashes), tree_root(hashes)).text, self.signer)

    def receipt(self, index: int) -> Receipt:
        """Return the receipt of an entry under the newest checkpoint."""
        proof = inclusion_proof(nodes_from_leaves(self._hashes), index, len(self.leaves))
        return Receipt.of(self.leaves[index], index, proof, self.checkpoint())

    def consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the proof between two sizes."""
        return consistency_proof(nodes_from_leaves(self._hashes), old_size, new_size)

    def records(self, tx_id: str) -> list[dict[str, Any]]:
        """Return the records of a transaction, as the dashboard's API gives them."""
        return [
            {
                "index": index,
                "id": entry.id,
                "event": entry.event,
                "actor": entry.actor,
                "ts": entry.ts,
                "payload": entry.payload,
                "entry": self.leaves[index].entry.decode(),
                "receipt": self.receipt(index).model_dump(),
            }
            for index, entry in enumerate(self.entries)
            if entry.tx_id == tx_id
        ]

    @property
    def _hashes(self) -> list[bytes]:
        return [leaf_hash(leaf.entry) for leaf in self.leaves]
