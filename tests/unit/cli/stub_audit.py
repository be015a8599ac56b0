"""A ledger behind HTTP as the audit function serves it, whose stored bytes a test can change."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol

from pydantic import JsonValue

from agent_mesh.contracts.audit import AuditBatchRequest
from agent_mesh.contracts.problems import Internal, InvalidRequest, MeshError, NotFound
from agent_mesh.ledger import (
    AuditEntry,
    LedgerError,
    LedgerLeaf,
    Receipt,
    Tile,
    inclusion_proof,
    nodes_from_tiles,
    parse_note,
    parse_tile_path,
    to_leaf,
)
from agent_mesh.ledger.bundles import decode_entries, encode_entries
from tests.unit.ledger.small_log import SmallLog
from tests.unit.ledger.stub_server import Answer, Asked, StubServer

JSON = {"Content-Type": "application/json"}
TS = "2026-11-20T14:00:00Z"


class Outcome(Protocol):
    """What a run of the command left on stderr."""

    err: str


class StubAudit:
    """`checkpoint`, `key` and `findings` are answered in place of the ledger's own where they are set.

    `mistaken` is for which paths and transactions it answers another; `altered` is what it appends in place of what it
    was sent.
    """

    def __init__(self) -> None:
        self.log = SmallLog()
        self.payloads: dict[str, bytes] = {}
        self.checkpoint: str | None = None
        self.key: str | None = None
        self.findings: list[dict[str, str]] | None = []
        self.mistaken: dict[str, str] = {}
        self.altered: dict[str, Any] = {}
        self.server = StubServer(self._answer)

    def append(self, count: int, tx_id: str = "tx-1", **fields: Any) -> None:
        """Append entries, one in 64 of them too large for the ledger itself."""
        leaves = []
        for number in range(self.log.tree.end, self.log.tree.end + count):
            payload: dict[str, JsonValue] = {"text": "ü" * 2500} if number % 64 == 2 else {"number": number}
            entry = AuditEntry(id=f"e-{number}", tx_id=tx_id, event="decision", actor="me", ts=TS, payload=payload)
            leaf = to_leaf(entry.model_copy(update=fields))
            if leaf.payload is not None:
                self.payloads[hashlib.sha256(leaf.payload).hexdigest()] = leaf.payload
            leaves.append(leaf.entry)
        self.log.append(leaves)

    def leaves(self) -> list[bytes]:
        """Return all entries."""
        bundles = [held for tile, held in sorted(self.log.tiles.items(), key=str) if tile.level is None]
        return [leaf for held in bundles for leaf in decode_entries(held)]

    def receipt(self, index: int) -> str:
        """Return a receipt as the function answers it."""
        bundle = decode_entries(self.log.tiles[Tile(None, index // 256)])
        leaf, size = bundle[index % 256], self.log.tree.end
        digest = json.loads(leaf).get("payload_digest")
        payload = self.payloads.get(digest["sha256"]) if digest else None
        proof = inclusion_proof(nodes_from_tiles(size, self.log.read), index, size)
        receipt = Receipt.of(LedgerLeaf(leaf, payload), index, proof, parse_note(self._note()))
        return receipt.model_dump_json(exclude_none=True)

    def paths(self) -> list[str]:
        """Return what was asked for, in order."""
        return [asked.path.partition("?")[0] for asked in self.server.asked]

    def _note(self) -> str:
        return self.checkpoint or str(self.log.checkpoint())

    def _answer(self, asked: Asked) -> Answer:
        assert asked.headers["authorization"].startswith("Bearer ")
        path = asked.path.partition("?")[0]
        path = self.mistaken.get(path, path)
        try:
            return self._text(path) or self._found(asked, path)
        except LedgerError:
            return Answer(500, Internal("It is damaged.").to_problem().model_dump_json(by_alias=True).encode(), JSON)
        except MeshError as error:
            return Answer(error.status, error.to_problem().model_dump_json(by_alias=True).encode(), JSON)

    def _text(self, path: str) -> Answer | None:
        if path == "/checkpoint":
            return Answer(200, self._note().encode())
        if path == "/key":
            return Answer(200, f"{self.key or self.log.key}\n".encode())
        return None

    def _found(self, asked: Asked, path: str) -> Answer:
        if path.startswith("/tile/"):
            return Answer(200, self._tile(path[1:]))
        if path.startswith("/entries/"):
            return self._entry(int(path.removeprefix("/entries/")))
        if path.startswith("/tx/"):
            return self._transaction(path.removeprefix("/tx/"), asked.path)
        if path == "/fsck" and self.findings is not None:
            return _json({"size": self.log.tree.end, "findings": self.findings})
        if path == "/audit/batch":
            return self._appended(asked.body)
        raise NotFound(f"There is no {path}.")

    def _tile(self, path: str) -> bytes:
        tile = parse_tile_path(path)
        held = self.log.read(tile)
        if held is None:
            raise NotFound(f"There is no {path}.")
        if tile.level is not None:
            return held[: 32 * tile.width]
        try:
            return encode_entries(decode_entries(held)[: tile.width])
        except Exception:  # noqa: BLE001  # what a test has broken is served as it is
            return held

    def _entry(self, index: int) -> Answer:
        if index >= self.log.tree.end:
            raise NotFound(f"There is no entry {index}.")
        return Answer(200, self.receipt(index).encode(), JSON)

    def _transaction(self, tx_id: str, path: str) -> Answer:
        found = [index for index, leaf in enumerate(self.leaves()) if json.loads(leaf)["tx_id"] == tx_id]
        begin = int(path.partition("cursor=")[2] or 0)
        if not found:
            raise NotFound(f"The ledger has nothing of the transaction {tx_id}.")
        page, more = found[begin : begin + 2], found[begin + 2 :]
        records = [
            {"index": index, "id": "i", "event": "e"}
            | {"actor": "a", "ts": TS, "entry": "", "receipt": json.loads(self.receipt(index))}
            for index in page
        ]
        following = {"next_cursor": str(begin + 2)} if more else {}  # what is not there is left out, as functions do
        return _json({"tx_id": tx_id, "records": records, **following})

    def _appended(self, body: bytes) -> Answer:
        request = AuditBatchRequest.model_validate_json(body)
        if any(entry.tx_id == "refused" for entry in request.entries):
            raise InvalidRequest("This one is refused.")
        first = self.log.tree.end
        for entry in request.entries:
            said = {"event": entry.event, "actor": entry.actor, "payload": entry.payload} | self.altered
            self.append(1, self.mistaken.get(entry.tx_id, entry.tx_id), **said)
        answers = [
            {"acl_txn": f"e-{index}", "tx_id": entry.tx_id, "index": index, "ts": 1.0, "repeated": entry.id == "again"}
            | {"proof": json.loads(self.receipt(index))}
            for index, entry in enumerate(request.entries, start=first)
        ]
        return _json({"entries": answers})


def code(outcome: Outcome) -> str:
    """Return the code of the error that a command ended with."""
    return str(json.loads(outcome.err)["code"])


def _json(body: object) -> Answer:
    return Answer(200, json.dumps(body).encode(), JSON)
