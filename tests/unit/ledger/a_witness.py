"""A witness behind HTTP: the one that we ship, on a loopback port, with its files in a folder."""

from __future__ import annotations

from pathlib import Path

from agent_mesh.ledger import KeyKind, LocalSigner, VerifierKey, verifier_key
from agent_mesh.ledger.witness import Witness, WitnessFolder
from agent_mesh.ledger.witness_client import WitnessClient
from tests.unit.ledger.stub_server import Answer, Asked, StubServer

NOW = 1_795_000_000


class AWitness:
    """A witness of some logs; `instead` is what it answers in place of the next answers."""

    def __init__(self, folder: Path, log_key: VerifierKey, name: str = "witness.example/w1") -> None:
        self.signer = LocalSigner(name, name.encode().ljust(32)[:32])
        self.key = verifier_key(self.signer, KeyKind.COSIGNATURE)
        self.instead: list[Answer] = []
        self.witness = Witness(self.signer, [log_key], WitnessFolder(folder), lambda: NOW)
        self.server = StubServer(self._answer)
        self.client = WitnessClient(f"{self.server.url}/prefix/", self.key, timeout_s=5.0)

    def _answer(self, asked: Asked) -> Answer:
        assert (asked.method, asked.path) == ("POST", "/prefix/add-checkpoint")
        if self.instead:
            return self.instead.pop(0)
        answer = self.witness.add_checkpoint(asked.body)
        return Answer(answer.status, answer.body, {"Content-Type": answer.content_type})
