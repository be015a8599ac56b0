"""What a definition may be and what a message must look like, by kind of schema.

Avro is validated by fastavro and Protocol Buffers by grpcio-tools, both optional (the extra
`schemas`). Without them definitions are stored as they are and messages are checked as far as their
encoding goes.
"""

from __future__ import annotations

import importlib
import io
import json
from functools import lru_cache
from typing import Any, Final

from emulator.pubsub.proto_schemas import message_class, read_json
from emulator.pubsub.protos import Proto
from emulator.refusals import invalid

PROTOCOL_BUFFER: Final = 1
AVRO: Final = 2
JSON: Final = 1
BINARY: Final = 2
_LARGEST_DEFINITION: Final = 300_000


def check_definition(schema: Proto) -> None:
    """Raise Refusal unless this is a schema."""
    if schema.type_ not in {PROTOCOL_BUFFER, AVRO}:
        raise invalid("The type of the schema must be AVRO or PROTOCOL_BUFFER")
    if not schema.definition.strip():
        raise invalid("The definition of the schema must be set")
    if len(schema.definition.encode()) > _LARGEST_DEFINITION:
        raise invalid(f"The definition of the schema is too large: at most {_LARGEST_DEFINITION} bytes are allowed")
    read = _parsed if schema.type_ == AVRO else message_class
    try:
        read(schema.definition)
    except Exception as error:  # the readers raise many kinds for a wrong definition
        raise invalid(f"Invalid schema definition: {error}") from error


def check_message(schema: Proto, data: bytes, encoding: int) -> str | None:
    """Why a message does not follow a schema, or None when it does."""
    try:
        if schema.type_ == AVRO:
            _read_avro(schema.definition, data, encoding)
        else:
            _read_proto(schema.definition, data, encoding)
    except Exception as error:  # noqa: BLE001  whatever a reader cannot read is an invalid message
        return f"{type(error).__name__}: {error}"
    return None


def _read_proto(definition: str, data: bytes, encoding: int) -> None:
    kind = message_class(definition)
    if kind is None:
        if encoding == JSON and not isinstance(json.loads(data), dict):
            raise TypeError("a message is a JSON object")
    elif encoding == JSON:
        read_json(kind, data)
    else:
        kind.FromString(data)


@lru_cache(maxsize=64)
def _parsed(definition: str) -> Any:  # noqa: ANN401  a JSON value, or what fastavro makes of it
    raw = json.loads(definition)
    fastavro = _fastavro()
    return raw if fastavro is None else fastavro.parse_schema(raw)


def _read_avro(definition: str, data: bytes, encoding: int) -> None:
    parsed, fastavro = _parsed(definition), _fastavro()
    if encoding == JSON:
        value = json.loads(data)
        if fastavro is not None:
            _read_json(fastavro, parsed, value)
        return
    if fastavro is not None:
        source = io.BytesIO(data)
        fastavro.schemaless_reader(source, parsed)
        if source.read(1):
            raise ValueError("the message is longer than its schema")


def _read_json(fastavro: Any, parsed: Any, value: Any) -> None:  # noqa: ANN401  no types without the library
    records = list(fastavro.json_reader(io.StringIO(json.dumps(value)), parsed))
    if len(records) != 1:
        raise ValueError("a message holds exactly one record")
    fastavro.validate(records[0], parsed, raise_errors=True)
    if isinstance(value, dict) and isinstance(records[0], dict) and set(value) - set(records[0]):
        raise ValueError(f"unknown fields: {sorted(set(value) - set(records[0]))}")


@lru_cache(maxsize=1)
def _fastavro() -> Any:  # noqa: ANN401  no types without the library
    try:
        module = importlib.import_module("fastavro")
        importlib.import_module("fastavro.schema")
    except ImportError:
        return None
    return module
