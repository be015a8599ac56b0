"""What a witness is sent is read in the one way in which it can be written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.ledger import parse_note
from agent_mesh.ledger.errors import MalformedSubmission
from agent_mesh.ledger.submissions import Submission, parse_size, parse_submission
from tests.unit.ledger.small_log import SmallLog

# The example of https://c2sp.org/tlog-witness
EXAMPLE = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""  # noqa: E501
NOTE = str(SmallLog().checkpoint())


def test_the_example_of_the_protocol_is_read_and_written() -> None:
    submission = parse_submission(EXAMPLE.encode())
    assert (submission.old_size, len(submission.proof)) == (20852014, 4)
    assert [signature.name for signature in submission.note.signatures] == ["example.com/behind-the-sofa"] * 2
    assert submission.encode() == EXAMPLE.encode()


@given(st.integers(0, 2**63 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_what_is_written_is_read(old_size: int, proof: list[bytes]) -> None:
    submission = Submission(old_size, tuple(proof), parse_note(NOTE))
    assert parse_submission(submission.encode()) == submission


@pytest.mark.parametrize(
    "head",
    ["", "old", "old ", "old 01", "old -1", "old 9223372036854775808", "new 1", " old 1", "old 1 ", "old 1\nAAAA",
     "old 1\n" + "A" * 43, "old 1\r", "old 1" + ("\n" + "A" * 43 + "=") * 64],
)  # fmt: skip
def test_what_is_no_submission_is_refused(head: str) -> None:
    with pytest.raises(MalformedSubmission):
        parse_submission(f"{head}\n\n{NOTE}".encode())


@pytest.mark.parametrize(
    "body", [b"", b"old 0\n", b"old 0\n\n", b"old 0\n\nno note", b"\xff", b"old 0\n\n" + bytes(65536)]
)
def test_a_submission_without_a_checkpoint_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedSubmission):
        parse_submission(body)


@given(st.binary())
def test_any_bytes_are_a_submission_or_refused_by_name(body: bytes) -> None:
    with pytest.raises(MalformedSubmission):
        parse_submission(body)


@pytest.mark.parametrize(
    ("body", "size"),
    [(b"0\n", 0), (b"17\n", 17), (b"17", None), (b"017\n", None), (b"-1\n", None), (b"9223372036854775808\n", None)],
)
def test_a_size_is_a_line(body: bytes, size: int | None) -> None:
    assert parse_size(body) == size
