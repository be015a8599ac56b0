"""An entry is one sequence of bytes, by digest where it is large, and read back only in that form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from agent_mesh.ledger import AuditEntry, check_payload, parse_entry, to_leaf
from agent_mesh.ledger.bundles import encode_entries
from agent_mesh.ledger.entries import INLINE_LIMIT_BYTES
from agent_mesh.ledger.errors import MalformedEntry, PayloadMismatch

FIRESTORE_FIELD_BYTES = 1_048_487
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


def entry_with(payload: dict[str, JsonValue], actor: str = "agent:summer") -> AuditEntry:
    return AuditEntry(
        id="evt-1", tx_id="tx-1", event="decision", actor=actor, ts="2026-11-20T14:00:00.000Z", payload=payload
    )


def test_the_bytes_are_sorted_and_have_no_spaces() -> None:
    assert entry_with({"b": 1, "a": "ü"}).canonical().decode() == (
        '{"actor":"agent:summer","event":"decision","id":"evt-1","payload":{"a":"ü","b":1},'
        '"ts":"2026-11-20T14:00:00.000Z","tx_id":"tx-1"}'
    )


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_an_entry_leads_back_to_itself(payload: dict[str, JsonValue]) -> None:
    entry = entry_with(payload)
    leaf = to_leaf(entry)
    assert leaf.payload is None
    assert parse_entry(leaf.entry) == entry


def test_equal_payloads_are_equal_bytes_whatever_their_order() -> None:
    assert entry_with({"a": 1, "b": 2}).canonical() == entry_with({"b": 2, "a": 1}).canonical()


def test_an_entry_of_4000_bytes_stands_there_whole_and_one_more_goes_by_digest() -> None:
    room = INLINE_LIMIT_BYTES - len(entry_with({"text": ""}).canonical())
    whole, large = to_leaf(entry_with({"text": "x" * room})), to_leaf(entry_with({"text": "x" * (room + 1)}))
    assert (len(whole.entry), whole.payload) == (4000, None)
    assert large.payload == json.dumps({"text": "x" * (room + 1)}, separators=(",", ":")).encode()
    entry = parse_entry(large.entry)
    assert entry.payload is None
    check_payload(entry, large.payload)


def test_a_bundle_of_the_largest_entries_fits_into_one_document() -> None:
    room = INLINE_LIMIT_BYTES - len(entry_with({"text": ""}).canonical())
    leaf = to_leaf(entry_with({"text": "x" * room})).entry
    assert len(encode_entries([leaf] * 256)) < FIRESTORE_FIELD_BYTES


def test_the_longest_names_still_fit_by_digest() -> None:
    entry = AuditEntry(
        id="\\" * 128,
        tx_id='"' * 128,
        event="e" * 128,
        actor="😀" * 255,
        ts="2026-11-20T14:00:00.123456789Z",
        payload={"text": "x" * 200_000},
    )
    assert parse_entry(to_leaf(entry).entry).actor == "😀" * 255


def test_another_payload_than_the_digests_is_refused() -> None:
    leaf = to_leaf(entry_with({"text": "x" * 5000}))
    assert leaf.payload is not None
    entry = parse_entry(leaf.entry)
    for changed in (leaf.payload + b" ", leaf.payload.replace(b"x", b"y", 1), b""):
        with pytest.raises(PayloadMismatch, match="is not the one with SHA-256"):
            check_payload(entry, changed)
    with pytest.raises(PayloadMismatch, match="in itself"):
        check_payload(entry_with({}), b"{}")


@pytest.mark.parametrize(
    "change",
    [
        {"payload": None},
        {"payload_digest": {"sha256": "0" * 64, "size": 1}},
        {"id": ""},
        {"id": "a b"},
        {"tx_id": "x" * 129},
        {"actor": "a\nb"},
        {"actor": ""},
        {"ts": "yesterday"},
        {"ts": "2026-11-20T14:00:00Z\n"},
        {"payload": {"a": float("nan")}},
        {"payload": {"a": "x" * 300_000}},
        {"extra": 1},
    ],
)
def test_what_is_no_entry_is_refused(change: dict[str, object]) -> None:
    fields = {**entry_with({}).model_dump(exclude_none=True), **change}
    with pytest.raises(ValidationError):
        AuditEntry.model_validate(fields)


@pytest.mark.parametrize(
    "leaf",
    [
        b"", b"null", b"[]", b"{}", b"\xff", b"[" * 3999, b'{"id":' * 600, b"9" * 3999, b"x" * 4001,
        entry_with({"a": 1}).canonical() + b" ",
        entry_with({"a": 1}).canonical().replace(b'"a":1', b'"a": 1'),
        entry_with({"a": 1}).canonical().replace(b'"a":1', b'"a":0,"a":1'),
        entry_with({"a": 1}).canonical().replace(b'"a":1', b'"a":1e0'),
        entry_with({"a": 1}).canonical().replace(b'"a":1', b'"a":NaN'),
        entry_with({"a": 1}).canonical().replace(b'"a":1', b'"a":1e999'),
        entry_with({"a": 1}).canonical().replace(b'"a":1', b'"a":"\\ud800"'),
        entry_with({"a": 1}).canonical().replace(b'"a":1', b'"a":' + b"[" * 1900 + b"]" * 1900),
        entry_with({"a": 1}).canonical().replace(b'"actor"', b'"\\u0061ctor"'),
    ],
)  # fmt: skip
def test_bytes_that_are_no_canonical_entry_are_refused(leaf: bytes) -> None:
    with pytest.raises(MalformedEntry):
        parse_entry(leaf)


@given(st.one_of(st.binary(), VALUES.map(lambda value: json.dumps(value).encode())))
def test_any_bytes_are_refused_by_name(leaf: bytes) -> None:
    with pytest.raises(MalformedEntry):
        parse_entry(leaf)


def test_a_payload_without_canonical_json_is_refused() -> None:
    with pytest.raises((MalformedEntry, ValidationError)):
        to_leaf(entry_with({"a": "\ud800"}))
