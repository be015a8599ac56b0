from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core.exceptions import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound

from emulator.pubsub import proto_schemas, schema_kinds
from tests.emulator.pubsub.conftest import Place

FIELDS = [{"name": "id", "type": "string"}, {"name": "n", "type": "int"}]
RECORD: dict[str, Any] = {"type": "record", "name": "Task", "fields": FIELDS}
AVRO = {"type_": "AVRO", "definition": json.dumps(RECORD)}
PROTO = {"type_": "PROTOCOL_BUFFER", "definition": 'syntax = "proto3"; message Task { string id = 1; }'}
GOOD = b'{"id": "a", "n": 1}'
GOOD_BINARY = b"\x02a\x02"


@pytest.fixture
def without_the_libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As it is where the extra `schemas` is not installed."""
    caches = schema_kinds._fastavro, schema_kinds._parsed, proto_schemas._compiler, proto_schemas._compiled
    for cache in caches:
        cache.cache_clear()
    for name in ("fastavro", "grpc_tools.protoc"):
        monkeypatch.setitem(sys.modules, name, None)
    yield
    for cache in caches:
        cache.cache_clear()


def create(place: Place, schema: dict[str, str] = AVRO) -> str:
    name = place.name("schemas").rsplit("/", 1)[-1]
    request = {"parent": place.project, "schema": schema, "schema_id": name}
    return str(place.schemas.create_schema(request=request).name)


def settings(schema: str, encoding: str = "JSON", **revisions: str) -> dict[str, Any]:
    return {"schema_settings": {"schema": schema, "encoding": encoding, **revisions}}


def test_a_schema_is_created_shown_listed_and_deleted(place: Place) -> None:
    name = create(place)
    shown = place.schemas.get_schema(name=name)
    assert json.loads(shown.definition) == RECORD
    assert len(shown.revision_id) == 8
    assert place.schemas.get_schema(request={"name": name, "view": "BASIC"}).definition == ""
    assert [one.name for one in place.schemas.list_schemas(parent=place.project)] == [name]
    with pytest.raises(AlreadyExists):
        place.schemas.create_schema(
            request={"parent": place.project, "schema": AVRO, "schema_id": name.rsplit("/", 1)[-1]}
        )
    place.schemas.delete_schema(name=name)
    with pytest.raises(NotFound):
        place.schemas.get_schema(name=name)


def test_revisions_are_committed_rolled_back_and_deleted(place: Place) -> None:
    name = create(place)
    first = place.schemas.get_schema(name=name).revision_id
    wider = {**RECORD, "fields": [*RECORD["fields"], {"name": "more", "type": "string", "default": ""}]}
    changed = {"name": name, "type_": "AVRO", "definition": json.dumps(wider)}
    committed = place.schemas.commit_schema(request={"name": name, "schema": changed})
    assert place.schemas.get_schema(name=name).revision_id == committed.revision_id != first
    assert json.loads(place.schemas.get_schema(name=f"{name}@{first}").definition) == RECORD
    back = place.schemas.rollback_schema(name=name, revision_id=first)
    assert json.loads(back.definition) == RECORD
    listed = [one.revision_id for one in place.schemas.list_schema_revisions(name=name)]
    assert listed == [back.revision_id, committed.revision_id, first]
    place.schemas.delete_schema_revision(name=f"{name}@{committed.revision_id}")
    place.schemas.delete_schema_revision(name=f"{name}@{first}")
    with pytest.raises(FailedPrecondition):
        place.schemas.delete_schema_revision(name=f"{name}@{back.revision_id}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"type_": "AVRO", "definition": ""},
        {"type_": "AVRO", "definition": "{"},
        {"type_": "TYPE_UNSPECIFIED", "definition": "x"},
        {"type_": "AVRO", "definition": '{"type": "nonsense"}'},
    ],
)
def test_a_wrong_definition_is_refused(place: Place, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        create(place, wrong)
    with pytest.raises(InvalidArgument):
        place.schemas.validate_schema(request={"parent": place.project, "schema": wrong})


@pytest.mark.parametrize(
    ("encoding", "message", "valid"),
    [
        ("JSON", GOOD, True),
        ("JSON", b'{"id": "a"}', False),
        ("JSON", b'{"id": 1, "n": 1}', False),
        ("JSON", b'{"id": "a", "n": 1, "extra": 2}', False),
        ("JSON", b"nonsense", False),
        ("JSON", b"\xff", False),
        ("BINARY", GOOD_BINARY, True),
        ("BINARY", GOOD_BINARY + b"\x00", False),
        ("BINARY", b"\x02", False),
        ("BINARY", b"", False),
    ],
)
def test_messages_are_validated(place: Place, encoding: str, message: bytes, valid: bool) -> None:
    request = {"parent": place.project, "name": create(place), "message": message, "encoding": encoding}
    if valid:
        place.schemas.validate_message(request=request)
    else:
        with pytest.raises(InvalidArgument, match="failed schema validation"):
            place.schemas.validate_message(request=request)


def test_only_messages_that_follow_the_schema_are_published_and_they_say_which(place: Place) -> None:
    schema = create(place)
    topic = place.topic(**settings(schema))
    subscription = place.subscription(topic)
    with pytest.raises(InvalidArgument):
        place.publish(topic, GOOD.decode(), "nonsense")
    place.publish(topic, GOOD.decode())
    (received,) = place.pull(subscription)
    assert dict(received.message.attributes) == {
        "googclient_schemaencoding": "JSON",
        "googclient_schemaname": schema,
        "googclient_schemarevisionid": place.schemas.get_schema(name=schema).revision_id,
    }


@pytest.mark.parametrize(
    ("encoding", "message", "valid"),
    [
        ("JSON", b'{"id": "a"}', True),
        ("JSON", b'{"id": 1}', False),
        ("JSON", b'{"other": "a"}', False),
        ("JSON", b"\xff", False),
        ("BINARY", b"\n\x01a", True),
        ("BINARY", b"\n\x09a", False),
    ],
)
def test_protocol_buffer_messages_are_validated(place: Place, encoding: str, message: bytes, valid: bool) -> None:
    request = {"parent": place.project, "schema": PROTO, "message": message, "encoding": encoding}
    if valid:
        place.schemas.validate_message(request=request)
    else:
        with pytest.raises(InvalidArgument, match="failed schema validation"):
            place.schemas.validate_message(request=request)


@pytest.mark.parametrize("definition", ["nonsense", 'syntax = "proto3";', f"{PROTO['definition']} message Two {{}}"])
def test_a_wrong_protocol_buffer_definition_is_refused(place: Place, definition: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid schema definition"):
        create(place, {**PROTO, "definition": definition})


@pytest.mark.usefixtures("without_the_libraries")
@pytest.mark.parametrize("kind", [AVRO, PROTO], ids=["Avro", "Protocol Buffers"])
def test_without_the_libraries_a_schema_is_stored_and_only_the_syntax_of_json_is_checked(
    place: Place, kind: dict[str, str]
) -> None:
    request = {"parent": place.project, "name": create(place, kind)}
    place.schemas.validate_message(request={**request, "message": b'{"other": 1}', "encoding": "JSON"})
    place.schemas.validate_message(request={**request, "message": b"\xff", "encoding": "BINARY"})
    with pytest.raises(InvalidArgument, match="failed schema validation"):
        place.schemas.validate_message(request={**request, "message": b"nonsense", "encoding": "JSON"})


def test_protocol_buffer_schemas_are_used_by_topics(place: Place) -> None:
    topic = place.topic(**settings(create(place, PROTO), "BINARY"))
    assert place.publish(topic, "\n\x01a")


def test_a_topic_wants_a_schema_that_exists_and_an_encoding(place: Place) -> None:
    with pytest.raises(NotFound):
        place.topic(**settings(place.name("schemas")))
    with pytest.raises(InvalidArgument):
        place.topic(**settings(create(place), "ENCODING_UNSPECIFIED"))


def test_nothing_is_published_once_the_schema_is_deleted(place: Place) -> None:
    schema = create(place)
    topic = place.topic(**settings(schema))
    place.schemas.delete_schema(name=schema)
    with pytest.raises(InvalidArgument):
        place.publish(topic, GOOD.decode())
