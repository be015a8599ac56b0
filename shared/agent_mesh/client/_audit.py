"""`AuditClient`: the ledger's calls as methods. What it answers is the ledger's word; verifying it is the caller's."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from agent_mesh.client._client import segment
from agent_mesh.client._errors import AnswerUnreadable, ProblemError, RequestInvalid
from agent_mesh.client._exchange import Call, Exchange, clean_base_url
from agent_mesh.client._pace import Clock
from agent_mesh.client._stack import STACK_FILE, Stack
from agent_mesh.client._tokens import GoogleTokens, TokenSource
from agent_mesh.client._transport import PooledTransport, Transport
from agent_mesh.contracts.problems import FieldFault

if TYPE_CHECKING:  # imported by the calls: who dispatches tasks needs none of it
    from agent_mesh.contracts.audit import AuditRequest, FsckRequest
    from agent_mesh.ledger.answers import AuditBatchAnswer, FsckReport, TransactionRecords

AUDIT: Final = "audit"
_NOT_FOUND: Final = 404


class AuditClient:
    """A caller of one audit function. Threads may share it; close it, or use it with `with`."""

    def __init__(
        self,
        base_url: str,
        *,
        audience: str | None = None,
        tokens: TokenSource | None = None,
        transport: Transport | None = None,
        timeout_s: float = 60,
        clock: Clock = time,
    ) -> None:
        """Speak to the audit function at `base_url`, whose tokens' audience is the same unless `audience` is given.

        Without `tokens` they are this process's own on Google Cloud. Raises `RequestInvalid` when `base_url` is no
        http(s) URL.
        """
        try:
            url = clean_base_url(base_url)
        except ValueError as error:
            raise RequestInvalid([FieldFault(field="base_url", message=str(error))]) from error
        self._transport = transport or PooledTransport()
        self._exchange = Exchange(url, audience or url, tokens or GoogleTokens(), self._transport, timeout_s, clock)

    @classmethod
    def from_stack(cls, path: str | Path = STACK_FILE, email: str | None = None) -> Self:
        """Speak to the audit function of the local stack, as `email` or its developer."""
        stack = Stack.read(path)
        audit, transport = stack.function(AUDIT), PooledTransport()
        return cls(audit.url, audience=audit.audience, tokens=stack.tokens(email, transport), transport=transport)

    def checkpoint(self) -> str:
        """Return the newest checkpoint: a signed note."""
        return self._text("/checkpoint")

    def key(self) -> str:
        """Return the key that the ledger says to be its own: `name+id+key`."""
        return self._text("/key").strip()

    def tile(self, path: str) -> bytes | None:
        """Return a tile or bundle by its path, such as `tile/0/000.p/7`; None if the ledger does not have it."""
        try:
            return self._exchange.fetch(Call("GET", f"/{path}", repeatable=True))
        except ProblemError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def receipt(self, index: int) -> str:
        """Return the receipt of an entry: JSON text."""
        return self._text(f"/entries/{index}")

    def records(self, tx_id: str, cursor: str | None = None) -> TransactionRecords:
        """Return a page of the records of a transaction, with their receipts."""
        from agent_mesh.ledger.answers import TransactionRecords

        call = Call("GET", f"/tx/{segment(tx_id)}", {"proof": "true", "cursor": cursor}, repeatable=True)
        return self._exchange.ask(call, TransactionRecords)

    def append(self, entries: Iterable[AuditRequest]) -> AuditBatchAnswer:
        """Append entries in one commit. It is repeated only where each has an id: the same again adds nothing then."""
        from agent_mesh.contracts.audit import AuditBatchRequest
        from agent_mesh.ledger.answers import AuditBatchAnswer

        body = AuditBatchRequest(entries=list(entries))
        repeatable = all(entry.id is not None for entry in body.entries)
        return self._exchange.ask(Call("POST", "/audit/batch", body=body, repeatable=repeatable), AuditBatchAnswer)

    def fsck(self, bundles: FsckRequest) -> FsckReport:
        """Let the function read its own documents again, a range of them; return what it found."""
        from agent_mesh.ledger.answers import FsckReport

        return self._exchange.ask(Call("POST", "/fsck", body=bundles, repeatable=True), FsckReport)

    def close(self) -> None:
        """Let go of open connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _text(self, path: str) -> str:
        body = self._exchange.fetch(Call("GET", path, repeatable=True))
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise AnswerUnreadable(f"GET {path} was answered with something that is no text.") from None
