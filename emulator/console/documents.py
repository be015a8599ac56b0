"""Collections and documents, read page by page through Firestore's own protocol."""

from __future__ import annotations

from typing import Any, Final

import grpc

from emulator.console.answers import OWN_REQUEST_ID, invalid
from emulator.console.sources import Json
from emulator.console.typed_values import typed_fields
from emulator.firestore.protocol import (
    Document,
    GetDocumentRequest,
    ListCollectionIdsRequest,
    ListCollectionIdsResponse,
    ListDocumentsRequest,
    ListDocumentsResponse,
    Message,
)

_PAGE_SIZE: Final = 50
_SECONDS: Final = 10.0
_METADATA: Final = (("authorization", "Bearer owner"), ("x-request-id", OWN_REQUEST_ID))
"""What Google's clients send to an emulator, so that no security rules apply; and by what our reads are told apart."""


class DocumentReader:
    """Reads the default database of a project. Every method may raise ``grpc.RpcError``."""

    def __init__(self, address: str, project: str) -> None:
        """Connect lazily, with the first call."""
        self._root = f"projects/{project}/databases/(default)/documents"
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
        self._get = self._method("GetDocument", GetDocumentRequest, Document)
        self._documents = self._method("ListDocuments", ListDocumentsRequest, ListDocumentsResponse)
        self._collections = self._method("ListCollectionIds", ListCollectionIdsRequest, ListCollectionIdsResponse)

    def close(self) -> None:
        """Disconnect."""
        self._channel.close()

    def page(self, path: str, token: str) -> Json:
        """The collections below the root or a document, or the documents of a collection."""
        segments = _segments(path)
        return self._documents_of(segments, token) if len(segments) % 2 else self._collections_of(segments, token)

    def document(self, path: str) -> Json:
        """One document with all its fields."""
        segments = _segments(path)
        if not segments or len(segments) % 2:
            raise invalid(f"{path!r} is no document's path: give collection/document, or further pairs")
        asked = GetDocumentRequest(name=self._name(segments))
        return self._shown(self._get(asked, timeout=_SECONDS, metadata=_METADATA))

    def _collections_of(self, segments: list[str], token: str) -> Json:
        asked = ListCollectionIdsRequest(parent=self._name(segments), page_size=_PAGE_SIZE, page_token=token)
        found = self._collections(asked, timeout=_SECONDS, metadata=_METADATA)
        below = "".join(f"{segment}/" for segment in segments)
        collections = [{"id": each, "path": below + each} for each in found.collection_ids]
        return {"path": "/".join(segments), "collections": collections, "nextPageToken": found.next_page_token}

    def _documents_of(self, segments: list[str], token: str) -> Json:
        asked = ListDocumentsRequest(
            parent=self._name(segments[:-1]),
            collection_id=segments[-1],
            page_size=_PAGE_SIZE,
            page_token=token,
            show_missing=True,
        )
        found = self._documents(asked, timeout=_SECONDS, metadata=_METADATA)
        documents = [self._shown(each) for each in found.documents]
        return {"path": "/".join(segments), "documents": documents, "nextPageToken": found.next_page_token}

    def _shown(self, document: Message) -> Json:
        path = document.name.removeprefix(f"{self._root}/")
        exists = document.HasField("create_time")
        return {
            "id": path.rpartition("/")[2],
            "path": path,
            "exists": exists,
            "createTime": document.create_time.ToJsonString() if exists else None,
            "updateTime": document.update_time.ToJsonString() if exists else None,
            "fields": typed_fields(document.fields),
        }

    def _name(self, segments: list[str]) -> str:
        return "/".join([self._root, *segments])

    def _method(self, name: str, request: Message, answer: Message) -> Any:  # noqa: ANN401  # grpc gives no type
        return self._channel.unary_unary(
            f"/google.firestore.v1.Firestore/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )


def _segments(path: str) -> list[str]:
    segments = path.split("/") if path else []
    if not all(segments):
        raise invalid(
            f"{path!r} has an empty segment: a path is collection/document/collection/..., without slashes around"
        )
    return segments
