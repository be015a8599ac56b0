"""Schemas and their revisions: https://cloud.google.com/pubsub/docs/schemas."""

from __future__ import annotations

import os
from typing import Final

from emulator.pubsub import names
from emulator.pubsub.protos import Proto, Schema, timestamp
from emulator.pubsub.schema_kinds import check_definition, check_message
from emulator.refusals import already_exists, failed_precondition, invalid, not_found

_MOST_REVISIONS: Final = 20
_SETTINGS_ATTRIBUTES: Final = "googclient_schema"
_ENCODINGS: Final = ("UNSPECIFIED", "JSON", "BINARY")


class Schemas:
    """Revisions by schema name, oldest first."""

    def __init__(self) -> None:
        """None yet."""
        self.kept: dict[str, list[Proto]] = {}

    def clear(self) -> None:
        """Forget all."""
        self.kept.clear()

    def create(self, name: str, given: Proto, now: float) -> Proto:
        """Store the first revision of a new schema."""
        names.check_name(names.SCHEMAS, name)
        if name in self.kept:
            raise already_exists(f"Schema already exists: {name}")
        check_definition(given)
        self.kept[name] = []
        return self._add(name, given, now)

    def commit(self, name: str, given: Proto, now: float) -> Proto:
        """Store another revision, of the same type."""
        revisions = self.revisions(name)
        if given.type_ != revisions[-1].type_:
            raise invalid("The type of a schema cannot change with a revision")
        check_definition(given)
        return self._add(name, given, now)

    def rollback(self, name: str, revision: str, now: float) -> Proto:
        """Make the definition of an earlier revision the newest."""
        if not revision:
            raise invalid("The revision_id must be set")
        return self._add(name, self.get(f"{name}@{revision}"), now)

    def get(self, name: str) -> Proto:
        """The newest revision, or the one after ``@``."""
        plain, at, revision = name.partition("@")
        revisions = self.revisions(plain)
        if not at:
            return revisions[-1]
        found = [one for one in revisions if one.revision_id == revision]
        if not found:
            raise not_found(f"Schema revision not found: {name}")
        return found[-1]

    def revisions(self, name: str) -> list[Proto]:
        """All revisions of a schema, oldest first."""
        found = self.kept.get(name)
        if found is None:
            raise names.missing(names.SCHEMAS, name, f"Schema not found: {name}")
        return found

    def delete(self, name: str) -> None:
        """Delete a schema with all its revisions."""
        self.revisions(name)
        del self.kept[name]

    def delete_revision(self, name: str, revision: str) -> Proto:
        """Delete one revision, but never the last."""
        plain, _, named = name.partition("@")
        unwanted = self.get(f"{plain}@{named or revision}")
        revisions = self.revisions(plain)
        if len(revisions) == 1:
            raise failed_precondition("The only revision of a schema cannot be deleted: delete the schema")
        self.kept[plain] = [one for one in revisions if one.revision_id != unwanted.revision_id]
        return self.get(plain)

    def check_settings(self, settings: Proto) -> None:
        """Raise Refusal unless a topic may have these schema settings."""
        self.get(settings.schema)
        if not settings.encoding:
            raise invalid("The encoding of the schema settings must be set")

    def check_publish(self, settings: Proto, messages: list[Proto]) -> None:
        """Raise Refusal unless the messages follow the topic's schema; name the revision in each."""
        if settings.schema not in self.kept:
            raise invalid(f"The schema of the topic was deleted: {settings.schema}")
        for message in messages:
            revision = self._matching(settings, message.data)
            message.attributes[f"{_SETTINGS_ATTRIBUTES}encoding"] = _ENCODINGS[settings.encoding]
            message.attributes[f"{_SETTINGS_ATTRIBUTES}name"] = settings.schema
            message.attributes[f"{_SETTINGS_ATTRIBUTES}revisionid"] = revision

    def _matching(self, settings: Proto, data: bytes) -> str:
        refusal = invalid("No schema revision is allowed by the topic's settings")
        for revision in reversed(self._allowed(settings)):
            wrong = check_message(revision, data, settings.encoding)
            if wrong is None:
                return str(revision.revision_id)
            refusal = invalid(f"Invalid data in message: Message failed schema validation: {wrong}")
        raise refusal

    def _allowed(self, settings: Proto) -> list[Proto]:
        revisions = self.revisions(settings.schema)
        ids = [one.revision_id for one in revisions]
        first = ids.index(settings.first_revision_id) if settings.first_revision_id in ids else 0
        last = ids.index(settings.last_revision_id) if settings.last_revision_id in ids else len(ids) - 1
        return revisions[first : last + 1]

    def _add(self, name: str, given: Proto, now: float) -> Proto:
        revisions = self.kept[name]
        if len(revisions) >= _MOST_REVISIONS:
            raise failed_precondition(f"A schema has at most {_MOST_REVISIONS} revisions: delete one")
        stored = Schema(name=name, type_=given.type_, definition=given.definition, revision_id=os.urandom(4).hex())
        stored.revision_create_time.CopyFrom(timestamp(now))
        revisions.append(stored)
        return stored


def shown(schema: Proto, *, full: bool) -> Proto:
    """A schema with or without its definition."""
    copy = Schema()
    copy.CopyFrom(schema)
    if not full:
        copy.ClearField("definition")
    return copy
