"""The key of a local log is made once, for its owner alone, and nobody else's is used."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.ledger import LocalSigner, open_key_file, parse_signing_key, sign_note, verifier_key, verify_note
from agent_mesh.ledger.errors import MalformedKey

NAME = "ledger.example/mesh"


def test_a_key_file_is_created_for_its_owner_alone_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ledger.key"
    signer = open_key_file(path, NAME)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["ledger.key"]
    again = open_key_file(path, NAME)
    assert again.public == signer.public
    verify_note(sign_note("text\n", again), [verifier_key(signer)])


def test_two_logs_have_different_keys(tmp_path: Path) -> None:
    first, second = open_key_file(tmp_path / "a", NAME), open_key_file(tmp_path / "b", NAME)
    assert first.public != second.public


def test_of_many_that_create_the_file_at_once_all_get_the_same_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    barrier = threading.Barrier(8)

    def opened() -> None:
        barrier.wait()
        found.append(open_key_file(tmp_path / "ledger.key", NAME).public)

    threads = [threading.Thread(target=opened) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    open_key_file(path, NAME)
    path.chmod(0o640)
    with pytest.raises(MalformedKey, match="chmod 600"):
        open_key_file(path, NAME)


def test_the_key_of_another_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    open_key_file(path, "other.example")
    with pytest.raises(MalformedKey, match=r"is of 'other\.example', not of 'ledger\.example/mesh'"):
        open_key_file(path, NAME)


@pytest.mark.parametrize("content", [b"", b"not a key", b"PRIVATE+KEY+a+00000000+AQ==", b"\xff\xfe", b"PRIVATE+KEY+"])
def test_a_file_that_is_no_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(MalformedKey):
        open_key_file(path, NAME)
    assert path.read_bytes() == content


def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MalformedKey, match="no key can be created at"):
        open_key_file(tmp_path / "file" / "ledger.key", NAME)
    with pytest.raises(MalformedKey, match="cannot be read as a key"):
        open_key_file(tmp_path, NAME)


def test_a_signing_key_with_a_changed_seed_is_refused(tmp_path: Path) -> None:
    open_key_file(tmp_path / "ledger.key", NAME)
    line = (tmp_path / "ledger.key").read_text().strip()
    changed = line[:-3] + ("A" if line[-3] != "A" else "E") + line[-2:]
    with pytest.raises(MalformedKey):
        parse_signing_key(changed)


def test_a_secret_is_not_shown() -> None:
    assert "\\x07" not in repr(LocalSigner(NAME, bytes([7]) * 32))


@pytest.mark.parametrize(("name", "seed"), [("a b", bytes(32)), ("", bytes(32)), (NAME, bytes(31))])
def test_what_is_no_key_is_refused(name: str, seed: bytes) -> None:
    with pytest.raises(MalformedKey):
        LocalSigner(name, seed)


@given(st.one_of(st.text(), st.text("PRIVATEKY+a0=", max_size=60), st.text().map("PRIVATE+KEY+a+00000000+{}".format)))
def test_any_text_is_a_signing_key_or_refused_by_name(text: str) -> None:
    with pytest.raises(MalformedKey):
        parse_signing_key(text)
