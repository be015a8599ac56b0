"""``google.pubsub.v1.SchemaService``: https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1#schemaservice."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from emulator.pubsub import names
from emulator.pubsub.broker import Broker
from emulator.pubsub.protos import Empty, Proto, message
from emulator.pubsub.schema_kinds import check_definition, check_message
from emulator.pubsub.schemas import shown
from emulator.pubsub.service_publisher import Method
from emulator.pubsub.settings import page
from emulator.refusals import invalid

SERVICE: Final = "google.pubsub.v1.SchemaService"
_BASIC: Final = 1
_FULL: Final = 2

_ListSchemas: Final = message("ListSchemasResponse")
_ListRevisions: Final = message("ListSchemaRevisionsResponse")
_ValidSchema: Final = message("ValidateSchemaResponse")
_ValidMessage: Final = message("ValidateMessageResponse")


def methods(broker: Broker) -> Mapping[str, Method]:
    """Request class and handler by method name."""
    schemas, now = broker.schemas, broker.clock.now
    return {
        "CreateSchema": (message("CreateSchemaRequest"), partial(_create, broker)),
        "GetSchema": (
            message("GetSchemaRequest"),
            lambda asked: shown(schemas.get(asked.name), full=asked.view != _BASIC),
        ),
        "ListSchemas": (message("ListSchemasRequest"), partial(_list, broker)),
        "ListSchemaRevisions": (message("ListSchemaRevisionsRequest"), partial(_list_revisions, broker)),
        "CommitSchema": (
            message("CommitSchemaRequest"),
            lambda asked: schemas.commit(asked.name, asked.schema, now()),
        ),
        "RollbackSchema": (
            message("RollbackSchemaRequest"),
            lambda asked: schemas.rollback(asked.name, asked.revision_id, now()),
        ),
        "DeleteSchemaRevision": (
            message("DeleteSchemaRevisionRequest"),
            lambda asked: schemas.delete_revision(asked.name, asked.revision_id),
        ),
        "DeleteSchema": (message("DeleteSchemaRequest"), partial(_delete, broker)),
        "ValidateSchema": (message("ValidateSchemaRequest"), _validate),
        "ValidateMessage": (message("ValidateMessageRequest"), partial(_validate_message, broker)),
    }


def _create(broker: Broker, request: Proto) -> Proto:
    names.check_project(request.parent)
    name = f"{request.parent}/schemas/{request.schema_id}"
    if not request.schema_id:
        name = names.random_name(request.parent, names.SCHEMAS)
    return broker.schemas.create(name, request.schema, broker.clock.now())


def _list(broker: Broker, request: Proto) -> Proto:
    names.check_project(request.parent)
    found = sorted(name for name in broker.schemas.kept if names.project_of(name) == request.parent)
    listed, token = page(found, request.page_size, request.page_token)
    newest = [shown(broker.schemas.get(name), full=request.view == _FULL) for name in listed]
    return _ListSchemas(schemas=newest, next_page_token=token)


def _list_revisions(broker: Broker, request: Proto) -> Proto:
    newest_first = {f"{place:04}": one for place, one in enumerate(reversed(broker.schemas.revisions(request.name)))}
    listed, token = page(sorted(newest_first), request.page_size, request.page_token)
    revisions = [shown(newest_first[place], full=request.view == _FULL) for place in listed]
    return _ListRevisions(schemas=revisions, next_page_token=token)


def _delete(broker: Broker, request: Proto) -> Proto:
    broker.schemas.delete(request.name)
    return Empty()


def _validate(request: Proto) -> Proto:
    names.check_project(request.parent)
    check_definition(request.schema)
    return _ValidSchema()


def _validate_message(broker: Broker, request: Proto) -> Proto:
    names.check_project(request.parent)
    which = request.WhichOneof("schema_spec")
    if which is None:
        raise invalid("Either the name of a schema or a schema must be set")
    schema = broker.schemas.get(request.name) if which == "name" else request.schema
    if which == "schema":
        check_definition(schema)
    if not request.encoding:
        raise invalid("The encoding must be set")
    wrong = check_message(schema, request.message, request.encoding)
    if wrong is not None:
        raise invalid(f"Message failed schema validation: {wrong}")
    return _ValidMessage()
