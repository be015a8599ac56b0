"""Writes: what one asks for, whether its precondition holds, and what the document is afterwards.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#google.firestore.v1.Write
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from typing import Final

from google.protobuf.unknown_fields import UnknownFieldSet

from emulator.firestore.documents import Database, Stored
from emulator.firestore.names import FieldPath, Name, format_field_path, parse_document, parse_field_path
from emulator.firestore.protocol import Document, Message, Value, WriteResult
from emulator.firestore.transforms import Transform, parse_transform
from emulator.firestore.values import (
    MAX_DOCUMENT_BYTES,
    check_fields,
    document_size,
    field_at,
    is_vector,
    micros,
    timestamp_of,
)
from emulator.refusals import already_exists, failed_precondition, invalid, not_found

MAX_TRANSFORMS: Final = 500
_VERIFY_FIELD: Final = 5
_LARGEST_GROWTH: Final = 4
"""A stored value counts at most so many times its bytes on the wire."""


class Kind(Enum):
    """What a write does to its document."""

    UPDATE = "update"
    DELETE = "delete"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be so before the write: the document exists or not, or was last written at a time."""

    exists: bool | None = None
    update_time: int | None = None

    def check(self, name: Name, current: Stored | None) -> None:
        """Raise Refusal with the official status if it is not so."""
        if self.exists is False and current:
            raise already_exists(f"Document already exists: {name}")
        if self.exists is True and not current:
            raise not_found(f"No document to update: {name}")
        stored = current.updated if current else 0
        if current and (self.update_time or 0) > stored:
            raise invalid(f"Invalid base version, it is greater than the stored version: {name}")
        if self.update_time is not None and self.update_time != stored:
            wanted = self.update_time
            raise failed_precondition(
                f"the stored version ({stored}) does not match the required base version ({wanted})"
            )


@dataclass(frozen=True, slots=True)
class PlannedWrite:
    """A write that was checked for everything that does not depend on what is stored."""

    kind: Kind
    name: Name
    condition: Condition
    fields: Mapping[str, Message]
    mask: tuple[FieldPath, ...] | None
    transforms: tuple[Transform, ...]


def condition_of(precondition: Message) -> Condition:
    """Read ``google.firestore.v1.Precondition``."""
    which = precondition.WhichOneof("condition_type")
    if which == "exists":
        return Condition(exists=bool(precondition.exists))
    return Condition(update_time=micros(precondition.update_time)) if which else Condition()


def mask_of(mask: Message) -> tuple[FieldPath, ...]:
    """Read ``google.firestore.v1.DocumentMask``."""
    return tuple(parse_field_path(path) for path in mask.field_paths)


def plan_write(write: Message, database: str) -> PlannedWrite:
    """Check a write. Raises Refusal."""
    operation = write.WhichOneof("operation")
    condition = condition_of(write.current_document)
    if operation == "update":
        planned = _plan_update(write, condition)
    elif operation == "transform":
        transforms = _transforms(write.transform.field_transforms)
        planned = PlannedWrite(Kind.UPDATE, parse_document(write.transform.document), condition, {}, (), transforms)
    elif operation == "delete":
        planned = PlannedWrite(Kind.DELETE, parse_document(write.delete), condition, {}, None, ())
    else:
        planned = PlannedWrite(Kind.VERIFY, parse_document(_verified(write)), condition, {}, None, ())
    if planned.kind is not Kind.UPDATE and write.HasField("update_mask"):
        raise invalid(f"a {planned.kind.value} must not specify a document mask.")
    if planned.kind is not Kind.UPDATE and write.update_transforms:
        raise invalid(f"a {planned.kind.value} must not specify transforms.")
    if planned.name.database != database:
        raise invalid(f'The document "{planned.name}" is not in the database "{database}" of the request.')
    return planned


def _plan_update(write: Message, condition: Condition) -> PlannedWrite:
    name = parse_document(write.update.name)
    check_fields(write.update.fields)
    mask = mask_of(write.update_mask) if write.HasField("update_mask") else None
    return PlannedWrite(Kind.UPDATE, name, condition, write.update.fields, mask, _transforms(write.update_transforms))


def _verified(write: Message) -> str:
    """The name in ``verify``, which the web client sends and the published messages leave out."""
    for unknown in iter(UnknownFieldSet(write)):
        if unknown.field_number == _VERIFY_FIELD:
            return bytes(unknown.data).decode()
    raise invalid("empty write operation")


def _transforms(transforms: Message) -> tuple[Transform, ...]:
    if len(transforms) > MAX_TRANSFORMS:
        raise invalid(f"A document cannot be transformed more than {MAX_TRANSFORMS} times in one request.")
    parsed = tuple(map(parse_transform, transforms))
    _check_nesting({each.path for each in parsed})
    return parsed


def _check_nesting(paths: AbstractSet[FieldPath]) -> None:
    for path in paths:
        for length in range(1, len(path)):
            if path[:length] in paths:
                outer = format_field_path(path[:length])
                raise invalid(f"Cannot transform property {outer} and its nested property at the same time.")


class Batch:
    """Writes that happen at one time and all together. Several of one document have one effect and one time."""

    def __init__(self, database: Database, time: int) -> None:
        """Start with what the database holds now."""
        self.time = time
        self.changed: dict[str, Stored | None] = {}
        self._database = database
        self._drafts: dict[str, Message | None] = {}
        self._replaced: set[str] = set()

    def apply(self, writes: Sequence[PlannedWrite]) -> list[Message]:
        """Do the writes in their order; return their WriteResults. Raises Refusal."""
        check_repetitions(writes)
        transformed = [self._draft(write) for write in writes]
        finished = {write.name: self._finish(write.name) for write in writes}
        return [
            WriteResult(update_time=timestamp_of(after.updated) if after else None, transform_results=results)
            for after, results in zip((finished[write.name] for write in writes), transformed, strict=True)
        ]

    def _draft(self, write: PlannedWrite) -> list[Message]:
        path = write.name.path
        if path not in self._drafts:
            current = self._database.read(path)
            write.condition.check(write.name, current)
            self._drafts[path] = _content(current) if current else None
        if write.kind is Kind.DELETE:
            self._drafts[path] = None
            self._replaced.add(path)  # what is written after this is another document
        if write.kind is not Kind.UPDATE:
            return []
        before = self._drafts[path]
        document = Document(name=str(write.name)) if write.mask is None or before is None else before
        self._drafts[path] = document
        _set_fields(document.fields, write)
        return [_transformed(document.fields, each, self.time) for each in write.transforms]

    def _finish(self, name: Name) -> Stored | None:
        """What the document is in the end; one that is as it was keeps its time."""
        current, draft = self._database.read(name.path), self._drafts[name.path]
        if draft is None:
            if current:
                self.changed[name.path] = None
            return None
        body = draft.SerializeToString(deterministic=True)
        if len(body) * _LARGEST_GROWTH > MAX_DOCUMENT_BYTES:
            _check_size(name, draft.fields)
        if name.path in self._replaced:
            current = None
        if current is None or current.wire[: current.body] != body:
            current = stored(name.path, body, current.created if current else self.time, self.time)
            self.changed[name.path] = current
        return current


def check_repetitions(writes: Sequence[PlannedWrite]) -> None:
    """Refuse writes of one document whose conditions cannot both be meant of the document as it is."""
    if len(writes) == 1:
        return
    known: dict[Name, tuple[str, int | None]] = {}
    for write in writes:
        kind, version = _role(write), write.condition.update_time
        if write.name in known:
            _check_repetition(*known[write.name], write)
            version = known[write.name][1] or version
            if kind in {"update", "upsert"} and known[write.name][0] != "delete":
                kind = known[write.name][0]
        known[write.name] = (kind, version)


def _check_repetition(before: str, version: int | None, write: PlannedWrite) -> None:
    kind, condition = _role(write), write.condition
    deleted = before == "delete"
    if deleted and kind == "update":
        raise invalid("Cannot delete then update an entity in the same request.")
    if condition.update_time is not None and condition.update_time != version:
        raise invalid("Cannot collapse mutations with different version preconditions.")
    if (deleted and kind == "delete" and condition.exists) or (not deleted and condition.exists is False):
        raise invalid(f"Cannot {before} then {kind} an entity in the same request.")


def _role(write: PlannedWrite) -> str:
    if write.kind is not Kind.UPDATE:
        return str(write.kind.value)
    if write.condition.exists is False:
        return "insert"
    return "upsert" if write.condition == Condition() else "update"


def _content(current: Stored) -> Message:
    return Document.FromString(current.wire[: current.body])


def stored(path: str, body: bytes, created: int, updated: int) -> Stored:
    """A version of a document, from its name and fields on the wire."""
    times = Document(create_time=timestamp_of(created), update_time=timestamp_of(updated))
    return Stored(path, created, updated, body + times.SerializeToString(), len(body))


def _check_size(name: Name, fields: Mapping[str, Message]) -> None:
    size = document_size(name.path, fields)
    if size > MAX_DOCUMENT_BYTES:
        raise invalid(
            f"Document '{name}' cannot be written because its size ({size:,} bytes) exceeds the maximum "
            f"allowed size of {MAX_DOCUMENT_BYTES:,} bytes."
        )


def _set_fields(fields: Message, write: PlannedWrite) -> None:
    if write.mask is None:
        for name, value in write.fields.items():
            fields[name].CopyFrom(value)
        return
    for path in write.mask:
        value = field_at(write.fields, path)
        if value is None:
            remove_field(fields, path)
        else:
            set_field(fields, path, value)


def set_field(fields: Message, path: FieldPath, value: Message) -> None:
    """Put a value at a field path; what is in the way and no map becomes one."""
    for segment in path[:-1]:
        if is_vector(fields[segment]):
            fields[segment].Clear()
        fields[segment].map_value.SetInParent()
        fields = fields[segment].map_value.fields
    fields[path[-1]].CopyFrom(value)


def remove_field(fields: Message, path: FieldPath) -> None:
    """Remove the field at a path, if there is one."""
    for segment in path[:-1]:
        inner = fields.get(segment)
        if inner is None or inner.WhichOneof("value_type") != "map_value" or is_vector(inner):
            return
        fields = fields[segment].map_value.fields
    fields.pop(path[-1], None)


def _transformed(fields: Message, transform: Transform, time: int) -> Message:
    before = field_at(fields, transform.path)
    after, result = transform.apply(before, time)
    told = Value()
    told.CopyFrom(result)  # the next transform may change the field in place
    if before is not after:
        set_field(fields, transform.path, after)
    return told


def masked(document: Stored, mask: tuple[FieldPath, ...] | None) -> bytes:
    """A document on the wire, with all of its fields or those of a mask."""
    if mask is None:
        return document.wire
    whole = Document.FromString(document.wire)
    kept = Document(name=whole.name, create_time=whole.create_time, update_time=whole.update_time)
    for path in mask:
        value = field_at(whole.fields, path)
        if value is not None:
            set_field(kept.fields, path, value)
    return bytes(kept.SerializeToString())
