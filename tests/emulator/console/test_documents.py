from __future__ import annotations

import datetime as dt
import math
from typing import Any
from urllib.parse import quote

import pytest
from google.cloud import firestore
from google.cloud.firestore_v1.vector import Vector

from tests.conftest import CloudAddresses
from tests.emulator.console.conftest import Caller


@pytest.fixture
def database(caller: Caller, local_cloud: CloudAddresses) -> firestore.Client:
    return firestore.Client(project=caller.project)


def documents(caller: Caller, path: str, token: str = "") -> Any:
    return caller.get(f"/_local/documents?path={quote(path)}&pageToken={quote(token)}").json


def test_an_empty_project_has_no_collections(caller: Caller) -> None:
    assert documents(caller, "") == {"path": "", "collections": [], "nextPageToken": ""}


def test_collections_documents_and_what_is_below_them(caller: Caller, database: firestore.Client) -> None:
    database.document("teams/a/members/x").set({"age": 1})
    database.document("teams/b").set({"name": "B"})
    assert documents(caller, "")["collections"] == [{"id": "teams", "path": "teams"}]
    missing, there = documents(caller, "teams")["documents"]
    assert (missing["path"], missing["exists"], missing["createTime"]) == ("teams/a", False, None)
    assert (there["path"], there["exists"]) == ("teams/b", True)
    assert there["fields"] == {"name": {"type": "string", "value": "B"}}
    assert documents(caller, "teams/a")["collections"] == [{"id": "members", "path": "teams/a/members"}]
    assert [each["id"] for each in documents(caller, "teams/a/members")["documents"]] == ["x"]


def test_a_long_collection_comes_in_pages(caller: Caller, database: firestore.Client) -> None:
    batch = database.batch()
    for number in range(70):
        batch.set(database.document(f"many/{number:02}"), {})
    batch.commit()
    first = documents(caller, "many")
    second = documents(caller, "many", first["nextPageToken"])
    ids = [each["id"] for page in (first, second) for each in page["documents"]]
    assert ids == [f"{number:02}" for number in range(70)]
    assert len(first["documents"]) < 70
    assert second["nextPageToken"] == ""


def test_every_type_keeps_its_name_and_its_digits(caller: Caller, database: firestore.Client) -> None:
    time = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, dt.UTC)
    database.document("kinds/all").set(
        {
            "integer": 2**63 - 1,
            "double": 0.1,
            "nan": math.nan,
            "minus": -math.inf,
            "none": None,
            "yes": True,
            "text": "<b>你好</b>",
            "bytes": b"\x00\xff",
            "time": time,
            "reference": database.document("kinds/other"),
            "place": firestore.GeoPoint(1.5, -2.0),
            "vector": Vector([1.0, 0.5]),
            "list": [1, [{"deep": "er"}][0]],
            "map": {"b": 1, "a": "x"},
        }
    )
    fields = caller.get("/_local/document?path=kinds/all").json["fields"]
    assert {name: tuple(field.values()) for name, field in fields.items()} == {
        "integer": ("integer", "9223372036854775807"),
        "double": ("double", "0.1"),
        "nan": ("double", "NaN"),
        "minus": ("double", "-Infinity"),
        "none": ("null", None),
        "yes": ("boolean", True),
        "text": ("string", "<b>你好</b>"),
        "bytes": ("bytes", "AP8="),
        "time": ("timestamp", "2026-01-02T03:04:05.678901Z"),
        "reference": ("reference", "kinds/other"),
        "place": ("geo_point", {"latitude": "1.5", "longitude": "-2.0"}),
        "vector": ("vector", ["1.0", "0.5"]),
        "list": (
            "array",
            [
                {"type": "integer", "value": "1"},
                {"type": "map", "value": {"deep": {"type": "string", "value": "er"}}},
            ],
        ),
        "map": ("map", {"a": {"type": "string", "value": "x"}, "b": {"type": "integer", "value": "1"}}),
    }


def test_a_document_tells_its_times(caller: Caller, database: firestore.Client) -> None:
    database.document("kinds/one").set({})
    found = caller.get("/_local/document?path=kinds/one").json
    assert found["createTime"] == found["updateTime"]
    assert dt.datetime.fromisoformat(found["createTime"]).tzinfo


def test_ids_of_any_characters_are_found(caller: Caller, database: firestore.Client) -> None:
    odd = '<img src=x onerror="1">?&#%2F +'
    database.collection("odd").document(odd).set({odd: 1})
    assert caller.get(f"/_local/document?path={quote(f'odd/{odd}')}").json["fields"] == {
        odd: {"type": "integer", "value": "1"}
    }


@pytest.mark.parametrize("path", ["a//b", "/a", "a/", "/"])
@pytest.mark.parametrize("question", ["documents", "document"])
def test_a_path_with_an_empty_segment_is_refused(caller: Caller, question: str, path: str) -> None:
    refused = caller.get(f"/_local/{question}?path={quote(path)}")
    assert refused.status == 400
    assert "empty segment" in refused.error


@pytest.mark.parametrize("path", ["", "a", "a/b/c"])
def test_a_collection_is_no_document(caller: Caller, path: str) -> None:
    refused = caller.get(f"/_local/document?path={path}")
    assert refused.status == 400
    assert "collection/document" in refused.error


def test_a_missing_document_is_not_found(caller: Caller) -> None:
    refused = caller.get("/_local/document?path=a/b")
    assert refused.status == 404
    assert "a/b" in refused.error


def test_what_firestore_refuses_is_told(caller: Caller) -> None:
    refused = caller.get("/_local/documents?path=__reserved__")
    assert refused.status == 400
    assert "reserved" in refused.error
    assert caller.get("/_local/documents?path=a&pageToken=nonsense").status == 400


def test_a_firestore_that_does_not_answer_is_told(start: Any) -> None:
    refused = start(firestore="127.0.0.1:9").get("/_local/documents?path=")
    assert refused.status == 503
    assert "UNAVAILABLE" in refused.error
