"""The messages of ``google.firestore.v1`` as raw protobuf classes, without the cost of the client they ship with.

``google.cloud.firestore_v1/__init__`` imports the whole client: a second of start-up. Only its ``types`` are wanted
here, so the package is put in place unexecuted and runs when somebody asks it for the first name that is not there.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any, Final, TypeAlias

_PACKAGE: Final = "google.cloud.firestore_v1"

Message: TypeAlias = Any
"""A raw protobuf message; the generated classes carry no types that mypy could check."""


class _Deferred(ModuleType):
    """A package whose submodules can be imported, and which itself is executed at the first missing attribute."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]  # documented: a module's class may be set
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _defer() -> None:
    spec = importlib.util.find_spec(_PACKAGE) if _PACKAGE not in sys.modules else None
    if spec is None:
        return
    package = importlib.util.module_from_spec(spec)
    package.__class__ = _Deferred
    sys.modules[_PACKAGE] = package
    parent, _, name = _PACKAGE.rpartition(".")
    setattr(sys.modules[parent], name, package)


_defer()

from google.cloud.firestore_v1.types import (  # noqa: E402
    aggregation_result,
    common,
    document,
    firestore,
    query,
    query_profile,
    write,
)
from google.protobuf import (  # noqa: E402
    duration_pb2,
    empty_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.rpc import status_pb2  # type: ignore[import-untyped]  # noqa: E402

Duration: Message = duration_pb2.Duration
Empty: Message = empty_pb2.Empty
Struct: Message = struct_pb2.Struct
Timestamp: Message = timestamp_pb2.Timestamp
Int32Value: Message = wrappers_pb2.Int32Value
Status: Message = status_pb2.Status

Value: Message = document.Value.pb()
ArrayValue: Message = document.ArrayValue.pb()
MapValue: Message = document.MapValue.pb()
Document: Message = document.Document.pb()
DocumentMask: Message = common.DocumentMask.pb()
TransactionOptions: Message = common.TransactionOptions.pb()
Write: Message = write.Write.pb()
WriteResult: Message = write.WriteResult.pb()
FieldTransform: Message = Write.DESCRIPTOR.fields_by_name["update_transforms"].message_type._concrete_class  # noqa: SLF001
StructuredQuery: Message = query.StructuredQuery.pb()
StructuredAggregationQuery: Message = query.StructuredAggregationQuery.pb()
Cursor: Message = query.Cursor.pb()
AggregationResult: Message = aggregation_result.AggregationResult.pb()
ExplainMetrics: Message = query_profile.ExplainMetrics.pb()

GetDocumentRequest: Message = firestore.GetDocumentRequest.pb()
ListDocumentsRequest: Message = firestore.ListDocumentsRequest.pb()
ListDocumentsResponse: Message = firestore.ListDocumentsResponse.pb()
CreateDocumentRequest: Message = firestore.CreateDocumentRequest.pb()
UpdateDocumentRequest: Message = firestore.UpdateDocumentRequest.pb()
DeleteDocumentRequest: Message = firestore.DeleteDocumentRequest.pb()
BatchGetDocumentsRequest: Message = firestore.BatchGetDocumentsRequest.pb()
BatchGetDocumentsResponse: Message = firestore.BatchGetDocumentsResponse.pb()
BeginTransactionRequest: Message = firestore.BeginTransactionRequest.pb()
BeginTransactionResponse: Message = firestore.BeginTransactionResponse.pb()
CommitRequest: Message = firestore.CommitRequest.pb()
CommitResponse: Message = firestore.CommitResponse.pb()
RollbackRequest: Message = firestore.RollbackRequest.pb()
RunQueryRequest: Message = firestore.RunQueryRequest.pb()
RunQueryResponse: Message = firestore.RunQueryResponse.pb()
RunAggregationQueryRequest: Message = firestore.RunAggregationQueryRequest.pb()
RunAggregationQueryResponse: Message = firestore.RunAggregationQueryResponse.pb()
PartitionQueryRequest: Message = firestore.PartitionQueryRequest.pb()
PartitionQueryResponse: Message = firestore.PartitionQueryResponse.pb()
WriteRequest: Message = firestore.WriteRequest.pb()
WriteResponse: Message = firestore.WriteResponse.pb()
ListenRequest: Message = firestore.ListenRequest.pb()
ListenResponse: Message = firestore.ListenResponse.pb()
TargetChange: Message = firestore.TargetChange.pb()
ListCollectionIdsRequest: Message = firestore.ListCollectionIdsRequest.pb()
ListCollectionIdsResponse: Message = firestore.ListCollectionIdsResponse.pb()
BatchWriteRequest: Message = firestore.BatchWriteRequest.pb()
BatchWriteResponse: Message = firestore.BatchWriteResponse.pb()
