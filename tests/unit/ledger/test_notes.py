"""Notes are read strictly, and believed only where a key that is known has signed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.ledger import (
    KeyKind,
    LocalSigner,
    Note,
    NoteSignature,
    VerifierKey,
    cosign_note,
    parse_note,
    parse_verifier_key,
    sign_note,
    verifier_key,
    verify_note,
)
from agent_mesh.ledger.cosignatures import cosigned_at, cosigned_message, encode_cosignature
from agent_mesh.ledger.errors import MalformedKey, MalformedNote, SignatureRefused, Unsigned

TEXT = "ledger.example/mesh\n3\nAAAA\n"
LOG = LocalSigner("ledger.example/mesh", bytes(32))
WITNESS = LocalSigner("witness.example/w1", bytes([1]) * 32)
WITNESS_KEY = verifier_key(WITNESS, KeyKind.COSIGNATURE)
SIGNED = sign_note(TEXT, LOG)
COSIGNED = cosign_note(SIGNED, WITNESS, 1_679_315_147)
# The example that C2SP tlog-cosignature gives; the public keys of its signers are not published.
PUBLISHED = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+"
    "xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe"
    "+mbIUBkBIfZ+qnA==\n"
)


def test_the_published_cosigned_checkpoint_is_read() -> None:
    note = parse_note(PUBLISHED)
    assert str(note) == PUBLISHED
    assert cosigned_at(note.signatures[1].signature) == 1_679_315_147


def test_a_witness_signs_the_time_and_the_whole_text() -> None:
    assert cosigned_message(TEXT, 1_679_315_147) == b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()


def test_log_and_witness_verify_in_one_note() -> None:
    note = parse_note(str(COSIGNED))
    signed = verify_note(note, [verifier_key(LOG), WITNESS_KEY])
    assert list(signed) == [verifier_key(LOG), WITNESS_KEY]
    assert cosigned_at(signed[WITNESS_KEY].signature) == 1_679_315_147


def test_a_cosignature_with_another_time_is_refused() -> None:
    raw = COSIGNED.signatures[1].signature
    later = NoteSignature(WITNESS.name, WITNESS_KEY.id, encode_cosignature(1_679_315_148, raw[-64:]))
    with pytest.raises(SignatureRefused, match="not made by the key"):
        verify_note(SIGNED.with_signature(later), [verifier_key(LOG), WITNESS_KEY])


def test_a_log_signature_is_no_cosignature_though_the_key_is_the_same() -> None:
    raw = sign_note(TEXT, WITNESS).signatures[0].signature
    forged = NoteSignature(WITNESS.name, WITNESS_KEY.id, bytes(8) + raw)
    with pytest.raises(SignatureRefused):
        verify_note(SIGNED.with_signature(forged), [WITNESS_KEY])


def test_a_cosignature_without_a_time_is_refused() -> None:
    short = NoteSignature(WITNESS.name, WITNESS_KEY.id, bytes(64))
    with pytest.raises(MalformedNote, match="has 72 bytes, this one 64"):
        verify_note(SIGNED.with_signature(short), [WITNESS_KEY])


def test_a_time_beyond_the_format_is_refused() -> None:
    with pytest.raises(MalformedNote, match="no time"):
        cosigned_at(b"\xff" * 72)
    with pytest.raises(MalformedNote, match="no time"):
        cosign_note(SIGNED, WITNESS, -1)


@pytest.mark.parametrize(("name", "key_id"), [("other.example", verifier_key(LOG).id), (LOG.name, b"abcd")])
def test_a_signature_that_shares_only_name_or_id_is_ignored(name: str, key_id: bytes) -> None:
    stranger = NoteSignature(name, key_id, bytes(64))
    assert list(verify_note(SIGNED.with_signature(stranger), [verifier_key(LOG)])) == [verifier_key(LOG)]


def test_one_wrong_signature_of_a_known_key_refuses_the_note() -> None:
    wrong = NoteSignature(LOG.name, verifier_key(LOG).id, bytes(64))
    with pytest.raises(SignatureRefused):
        verify_note(SIGNED.with_signature(wrong), [verifier_key(LOG)])


def test_a_note_that_nobody_known_signed_is_refused() -> None:
    with pytest.raises(Unsigned):
        verify_note(SIGNED, [WITNESS_KEY])


def test_the_text_is_separated_by_the_last_empty_line() -> None:
    assert parse_note(str(sign_note("first\n\nsecond\n", LOG))).text == "first\n\nsecond\n"


@given(st.data())
def test_a_note_with_any_bit_flipped_is_refused_or_says_the_same(data: st.DataObject) -> None:
    raw = bytearray(str(SIGNED).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((MalformedNote, SignatureRefused, Unsigned)):
        verify_note(parse_note(raw.decode(errors="surrogateescape")), [verifier_key(LOG)])


NO_NOTES = {
    "no space after the dash": str(SIGNED).replace("— ", "—"),
    "another dash": str(SIGNED).replace("— ", "- "),
    "another space": str(SIGNED).replace(" ", "\u00a0"),
    "padding cut off": str(SIGNED).replace("=\n", "\n"),
    "carriage return": str(SIGNED).replace("\n—", "\r\n—"),
    "empty line at the end": f"{SIGNED}\n",
    "no signature at the end": f"{SIGNED}junk\n",
    "plus in a name": f"{SIGNED}— a+b AAAAAAA=\n",
    "signature without bytes": f"{SIGNED}— short AAAAAA==\n",
    "not UTF-8": f"\ud800{SIGNED}",
    "too long": "A" * 1_000_000 + str(SIGNED),
}


@pytest.mark.parametrize("note", NO_NOTES.values(), ids=NO_NOTES)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(MalformedNote):
        parse_note(note)


@given(st.one_of(st.text(), st.text(alphabet="— \nab+/=\x00\ud800AAAA", max_size=80)))
def test_any_text_is_a_note_or_refused_by_name(text: str) -> None:
    for attempt in (text, f"{text}\n\n— {text}\n", f"text\n\n— a {text}\n"):
        try:
            note = parse_note(attempt)
        except MalformedNote:
            continue
        assert str(note) == attempt


@given(st.binary(max_size=80))
def test_any_bytes_are_a_cosignature_or_refused_by_name(raw: bytes) -> None:
    try:
        seconds = cosigned_at(raw)
    except MalformedNote:
        return
    assert encode_cosignature(seconds, raw[8:]) == raw


@given(
    st.one_of(
        st.text(), st.builds("{}+{}+{}".format, st.text(), st.text("0af", max_size=9), st.text("AQE=+/", max_size=48))
    )
)
def test_any_text_is_a_verifier_key_or_refused_by_name(text: str) -> None:
    try:
        key = parse_verifier_key(text)
    except MalformedKey:
        return
    assert str(key) == text


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_verifier_key_leads_back_to_itself(kind: KeyKind) -> None:
    key = verifier_key(LOG, kind)
    assert parse_verifier_key(str(key)) == key


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\u2003b", "x" * 256, "a\x00", "\ud800"])
def test_a_name_that_no_key_may_have_is_refused(name: str) -> None:
    with pytest.raises(MalformedKey):
        VerifierKey(name, KeyKind.NOTE, bytes(32))


def test_a_public_key_of_another_length_is_refused() -> None:
    with pytest.raises(MalformedKey, match="has 32 bytes, this one 33"):
        VerifierKey("a", KeyKind.NOTE, bytes(33))


def test_a_verifier_key_with_the_id_of_another_is_refused() -> None:
    name, _, key = str(verifier_key(LOG)).split("+", 2)
    with pytest.raises(MalformedKey, match="the line says 00000000"):
        parse_verifier_key(f"{name}+00000000+{key}")


def test_a_public_key_that_is_no_point_verifies_nothing() -> None:
    assert not VerifierKey("bad", KeyKind.NOTE, b"\xff" * 32).verifies(b"", bytes(64))


def test_a_signature_of_another_length_verifies_nothing() -> None:
    note = Note(TEXT, (NoteSignature(LOG.name, verifier_key(LOG).id, bytes(5)),))
    with pytest.raises(SignatureRefused):
        verify_note(note, [verifier_key(LOG)])
