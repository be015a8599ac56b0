"""Resource names and field paths: how they are written, ordered and limited.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#google.firestore.v1.Document and
https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from emulator.refusals import Refusal, invalid

MAX_ID_BYTES: Final = 1_500
MAX_NAME_BYTES: Final = 6 * 1024
MAX_DEPTH: Final = 100
"""Subcollection depth: pairs of collection and document id in a name."""

DOCUMENT_ID: Final = "__name__"
FieldPath: TypeAlias = tuple[str, ...]
IdKey: TypeAlias = tuple[int, int, bytes]
NameKey: TypeAlias = tuple[IdKey, ...]

_DATABASE_PARTS: Final = 4
_NUMERIC_ID: Final = re.compile(r"__id(-?\d+)__")
_RESERVED: Final = re.compile(r"__.*__", re.DOTALL)
_SIMPLE: Final = re.compile(r"[a-zA-Z_][a-zA-Z_0-9]*")
_SEGMENT: Final = re.compile(r"([a-zA-Z_][a-zA-Z_0-9]*)|`((?:[^`\\]|\\.)+)`", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_FIELD_PATH_RULE: Final = (
    "Unquoted property paths must match regex ([a-zA-Z_][a-zA-Z_0-9]*), "
    r"and quoted property paths must match regex (`(?:[^`\\]|(?:\\.))+`)"
)


class Name(NamedTuple):
    """A place in a database: a document or a collection, or its root with no segments at all."""

    database: str
    segments: tuple[str, ...]

    @property
    def path(self) -> str:
        """What stands behind ``/documents/``."""
        return "/".join(self.segments)

    def __str__(self) -> str:
        root = f"{self.database}/documents"
        return f"{root}/{self.path}" if self.segments else root


def parse_database(name: str) -> str:
    """Check ``projects/{project}/databases/{database}``."""
    _split_database("Database name", name, name.split("/"))
    if name.count("/") != _DATABASE_PARTS - 1:
        raise invalid(f'Database name "{name}" has trailing segments.')
    return name


@lru_cache(maxsize=4096)
def parse_document(name: str) -> Name:
    """Read the name of a document and check every rule a stored document obeys."""
    found = _parse("Document name", name)
    if not found.segments or len(found.segments) % 2:
        raise invalid(f'Document name "{name}" lacks "/" at index {len(name)}.')
    return found


@lru_cache(maxsize=4096)
def parse_parent(name: str) -> Name:
    """Read what collections hang on: a document, or the root ``.../documents``."""
    found = _parse("Document parent name", name)
    if len(found.segments) % 2:
        raise invalid(f'Document parent name "{name}" lacks "/" at index {len(name)}.')
    return found


def check_collection_id(collection_id: str) -> str:
    """Check one collection id of a request."""
    if not collection_id:
        raise invalid("Collection id must not be empty.")
    if "/" in collection_id:
        raise invalid(f'Collection id "{collection_id}" is invalid because it contains "/".')
    _check_id(collection_id, "Collection id", collection=True, whole=collection_id, index=0)
    return collection_id


def id_key(segment: str) -> IdKey:
    """Sort ids as Firestore does: numeric ids first, by number, then the others by UTF-8 bytes."""
    if segment.startswith("__id") and (numeric := _NUMERIC_ID.fullmatch(segment)):
        return (0, int(numeric[1]), b"")
    return (1, 0, segment.encode())


@lru_cache(maxsize=4096)
def name_key(path: str) -> NameKey:
    """Sort documents by path, segment by segment."""
    return tuple(map(id_key, path.split("/")))


@lru_cache(maxsize=4096)
def parse_field_path(text: str) -> FieldPath:
    """Split a field path at its dots, outside of back quotes."""
    if not text:
        raise invalid("Invalid empty property path string.")
    segments = []
    position = 0
    while found := _SEGMENT.match(text, position):
        segments.append(found[1] if found[1] is not None else _ESCAPED.sub(r"\1", found[2]))
        position = found.end()
        if position == len(text):
            return tuple(segments)
        if text[position] != ".":
            break
        position += 1
    raise invalid(f'Invalid property path "{text}". {_FIELD_PATH_RULE}')


def format_field_path(path: FieldPath) -> str:
    """Write a field path, quoting where it must be."""
    return ".".join(segment if _SIMPLE.fullmatch(segment) else _quoted(segment) for segment in path)


def reserved(name: str) -> bool:
    """Whether a name is kept for Firestore itself."""
    return _RESERVED.fullmatch(name) is not None


def _quoted(segment: str) -> str:
    escaped = segment.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _parse(what: str, name: str) -> Name:
    parts = name.split("/")
    database = _split_database(what, name, parts)
    if len(parts) == _DATABASE_PARTS or parts[_DATABASE_PARTS] != "documents":
        raise invalid(f'{what} "{name}" lacks "documents" at index {len(database) + 1}.')
    segments = tuple(parts[_DATABASE_PARTS + 1 :])
    index = len(database) + len("/documents/")
    for number, segment in enumerate(segments):
        if not segment:
            raise invalid(f'{what} "{name}" lacks a resource id at index {index}.')
        label = "Resource id" if number % 2 else "Collection id"
        _check_id(segment, label, collection=not number % 2, whole=f'{what} "{name}"', index=index)
        index += len(segment) + 1
    if len(segments) > 2 * MAX_DEPTH:
        raise invalid(f"{what} is deeper than {MAX_DEPTH} collections.")
    if len("/".join(segments).encode()) > MAX_NAME_BYTES:
        raise invalid(f"{what} is longer than {MAX_NAME_BYTES} bytes.")
    return Name(database, segments)


def _split_database(what: str, name: str, parts: list[str]) -> str:
    if parts[0] != "projects":
        raise _lacking(what, name, "projects", 0)
    if len(parts) < 2 or not parts[1]:  # noqa: PLR2004  # projects/{project}
        raise invalid(f'{what} "{name}" lacks a project id at index 9.')
    index = len(f"projects/{parts[1]}/")
    if len(parts) < 3 or parts[2] != "databases":  # noqa: PLR2004  # projects/{project}/databases
        raise _lacking(what, name, "databases", index)
    if len(parts) < _DATABASE_PARTS or not parts[3]:
        raise invalid(f'{what} "{name}" lacks a database id at index {index + 10}.')
    return "/".join(parts[:_DATABASE_PARTS])


def _lacking(what: str, name: str, part: str, index: int) -> Refusal:
    what = what.replace("Document parent name", "Resource name") if name and "/" not in name else what
    return invalid(f'{what} "{name}" lacks "{part}" at index {index}.')


def _check_id(segment: str, label: str, *, collection: bool, whole: str, index: int) -> None:
    if segment in {".", ".."}:
        raise invalid(f'{whole} contains a resource id "{segment}" at index {index}.')
    if len(segment) * 4 > MAX_ID_BYTES and len(segment.encode()) > MAX_ID_BYTES:
        raise invalid(f"The key path element name is longer than {MAX_ID_BYTES} bytes.")
    if segment.startswith("__") and reserved(segment) and (collection or not _NUMERIC_ID.fullmatch(segment)):
        raise invalid(f'{label} "{segment}" is invalid because it is reserved.')
