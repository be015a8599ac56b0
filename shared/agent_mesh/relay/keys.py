"""The `relay_keys` collection: which keys were published on a topic, so that a repeat is not published again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from google.cloud import firestore

from agent_mesh.platform.firestore import FirestoreClient, firestore_errors
from agent_mesh.platform.ids import derived_id
from agent_mesh.relay.messages import Draft, Message

COLLECTION: Final = "relay_keys"


class PublishKeys:
    """One document for each key, created in the commit that appends the message."""

    def __init__(self, database: FirestoreClient) -> None:
        """Use this database."""
        self._database = database

    def add(self, batch: firestore.WriteBatch, message: Message, key: str, expires: datetime) -> None:
        """Add the write that only one message with this key can make."""
        fields = {"number": message.number, "expireAt": expires}
        batch.create(self._document(message.topic, key), fields)

    def published(self, topic: str, drafts: Sequence[Draft]) -> dict[str, int]:
        """Return the numbers of what was published with the drafts' keys."""
        keys = {self._document(topic, draft.key).id: draft.key for draft in drafts if draft.key is not None}
        references = [self._collection().document(document_id) for document_id in keys]
        with firestore_errors():
            found = list(self._database.client.get_all(references)) if references else []
        return {keys[each.id]: each.get("number") for each in found if each.exists}

    def _document(self, topic: str, key: str) -> Any:  # noqa: ANN401  # the client's reference type is untyped
        return self._collection().document(derived_id("key", topic, key))

    def _collection(self) -> Any:  # noqa: ANN401  # as above
        return self._database.collection(COLLECTION)
