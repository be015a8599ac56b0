"""`agent-mesh ledger fsck` finds every changed byte that the function serves, and goes on where it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_mesh.ledger import Checkpoint, CompactRange, Tile, sign_note
from agent_mesh.ledger.walk import Walk
from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_audit import StubAudit, code
from tests.unit.ledger.small_log import ORIGIN, SmallLog


def report(run: Run, *words: str, exit_code: int) -> dict[str, Any]:
    done = run("ledger", "fsck", "--json", *words)
    assert done.code == exit_code, done.err
    answer: dict[str, Any] = json.loads(done.out)
    return answer


def places(answer: dict[str, Any]) -> list[str]:
    return [finding["place"] for finding in answer["findings"]]


@pytest.mark.parametrize("count", [0, 246, 247, 500])
def test_in_an_unchanged_ledger_nothing_is_found(audit: StubAudit, run: Run, count: int) -> None:
    audit.append(count)
    answer = report(run, exit_code=0)
    assert (answer["size"], answer["since"], answer["findings"], answer["documents"]) == (10 + count, 0, [], "read")


def test_what_was_read_is_told(audit: StubAudit, run: Run) -> None:
    done = run("ledger", "fsck")
    assert "as signed 10 entries" in done.out
    assert "documents read" in done.out


def flipped(held: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(held)
    changed[place % len(held)] ^= 1 << bit
    return bytes(changed)


@given(st.integers(0), st.integers(0), st.integers(0, 7))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_in_anything_that_is_served_is_found(
    audit: StubAudit, run: Run, which: int, place: int, bit: int
) -> None:
    if audit.log.tree.end == 10:
        audit.append(300)
    tiles, payloads = dict(audit.log.tiles), dict(audit.payloads)
    stored: list[Tile | str] = [*sorted(tiles, key=str), *sorted(payloads)]
    chosen = stored[which % len(stored)]
    if isinstance(chosen, Tile):
        audit.log.tiles[chosen] = flipped(tiles[chosen], place, bit)
    else:
        audit.payloads[chosen] = flipped(payloads[chosen], place, bit)
    try:
        done = run("ledger", "fsck", "--json")
        assert done.code != 0
    finally:
        audit.log.tiles, audit.payloads = tiles, payloads


def test_a_changed_tile_is_named(audit: StubAudit, run: Run) -> None:
    audit.append(300)
    audit.log.tiles[Tile(0, 1)] = flipped(audit.log.tiles[Tile(0, 1)], 40, 3)
    assert places(report(run, exit_code=1)) == ["tile/0/001.p/54"]
    assert "tile/0/001.p/54: is not what the entries make it" in run("ledger", "fsck").out


def test_a_missing_bundle_tile_or_payload_is_named(audit: StubAudit, run: Run) -> None:
    audit.append(300)
    audit.payloads = {}
    assert "entry 2" in places(report(run, exit_code=1))
    del audit.log.tiles[Tile(0, 1)]
    assert "tile/0/001.p/54" in places(report(run, exit_code=1))
    del audit.log.tiles[Tile(None, 1)]
    assert places(report(run, exit_code=1))[-1] == "tile/entries/001.p/54"


def test_entries_written_anew_do_not_fit_the_checkpoint(audit: StubAudit, run: Run) -> None:
    signed = str(audit.log.checkpoint())
    audit.log = SmallLog()
    audit.append(10, "another")
    audit.checkpoint = signed
    assert places(report(run, exit_code=1)) == ["checkpoint 10"]


def test_a_checkpoint_that_the_ledger_has_not_signed_is_refused(audit: StubAudit, run: Run) -> None:
    audit.checkpoint = str(audit.log.checkpoint()).replace("\n10\n", "\n9\n")
    done = run("ledger", "fsck", "--json")
    assert (done.code, code(done)) == (1, "signature_refused")


def test_what_the_function_finds_in_its_own_documents_is_told(audit: StubAudit, run: Run) -> None:
    audit.findings = [{"place": "index of 0", "fault": "is not what the entries make it"}]
    assert places(report(run, exit_code=1)) == ["document index of 0"]
    assert places(report(run, "--no-documents", exit_code=0)) == []
    audit.findings = None
    assert report(run, exit_code=0)["documents"] == "not offered"


def bundles_read(audit: StubAudit) -> list[str]:
    return [path for path in audit.paths() if path.startswith("/tile/entries/")]


def test_a_second_run_reads_only_what_came_since(audit: StubAudit, run: Run, tmp_path: Path) -> None:
    since = ("--since", str(tmp_path / "seen.json"))
    audit.append(600)
    assert report(run, *since, exit_code=0)["since"] == 0
    audit.append(300)
    audit.server.asked.clear()
    answer = report(run, *since, exit_code=0)
    assert (answer["size"], answer["since"]) == (910, 512)
    assert bundles_read(audit) == ["/tile/entries/002", "/tile/entries/003.p/142"]
    for each in (0, 1, 256 * 2):
        audit.append(each)
        report(run, *since, exit_code=0)


def test_a_ledger_that_was_rolled_back_since_is_found(audit: StubAudit, run: Run, tmp_path: Path) -> None:
    since = ("--since", str(tmp_path / "seen.json"))
    audit.append(600)
    report(run, *since, exit_code=0)
    kept = (tmp_path / "seen.json").read_text()
    audit.log = SmallLog()
    audit.append(550)
    assert places(report(run, *since, exit_code=1)) == ["checkpoint 610"]
    assert (tmp_path / "seen.json").read_text() == kept


@pytest.mark.parametrize("changed_at", [3, 300, 520, 605])
def test_a_ledger_that_was_written_anew_and_signed_again_is_found(
    audit: StubAudit, run: Run, tmp_path: Path, changed_at: int
) -> None:
    since = ("--since", str(tmp_path / "seen.json"))
    audit.append(600)
    report(run, *since, exit_code=0)
    audit.log = SmallLog()
    audit.append(changed_at)
    audit.append(1, "another")
    audit.append(700)
    assert report(run, exit_code=0)["findings"] == []  # whoever has not seen it before cannot know
    assert places(report(run, *since, exit_code=1))
    assert places(report(run, *since, exit_code=1))  # and nothing was forgotten


def test_an_interrupted_run_is_gone_on_with(
    audit: StubAudit, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = ("--since", str(tmp_path / "seen.json"))
    monkeypatch.setattr("agent_mesh.cli._ledger_fsck._SAVE_EVERY", 1)
    audit.append(50)
    report(run, *since, exit_code=0)
    audit.append(800)
    gone = audit.log.tiles.pop(Tile(None, 2))
    report(run, *since, exit_code=1)
    audit.log.tiles[Tile(None, 2)] = gone
    audit.server.asked.clear()
    assert report(run, *since, exit_code=0)["since"] == 512
    assert len(bundles_read(audit)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"end": 255}, {"end": -256}, {"hashes": []}, {"hashes": ["AAAA", "AAAA"]}, {"more": 1}, {"format": "v2"},
        {"checkpoints": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_a_file_that_is_none_of_ours_is_refused(
    audit: StubAudit, run: Run, tmp_path: Path, change: dict[str, Any]
) -> None:
    file = tmp_path / "seen.json"
    audit.append(600)
    report(run, "--since", str(file), exit_code=0)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert run("ledger", "fsck", "--since", str(file), "--json").code == 2


def test_a_saved_checkpoint_that_the_key_has_not_signed_is_refused(audit: StubAudit, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    report(run, "--since", str(file), exit_code=0)
    file.write_text(file.read_text().replace("\\n10\\n", "\\n9\\n"))
    done = run("ledger", "fsck", "--since", str(file), "--json")
    assert (done.code, code(done)) == (1, "signature_refused")


def test_a_saved_tree_that_is_not_the_ledgers_is_found(audit: StubAudit, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    audit.append(600)
    report(run, "--since", str(file), exit_code=0)
    saved = json.loads(file.read_text())
    saved["hashes"] = ["A" * 43 + "="]
    file.write_text(json.dumps(saved))
    assert places(report(run, "--since", str(file), exit_code=1)) == ["the first 512 entries"]


def test_a_walk_from_a_checkpoint_at_its_end_reads_nothing_and_still_compares() -> None:
    log = SmallLog()
    log.append([f"{number}".encode() for number in range(256)])
    other = Checkpoint(ORIGIN, 256, bytes(32))
    walk = Walk(log.read, lambda _index, _sha256: b"", 256, log.tree, [other])
    assert [finding.place for found in walk.findings() for finding in found] == ["checkpoint 256"]
    assert walk.tree == log.tree != CompactRange()


def test_a_log_that_signs_a_size_without_entries_is_found(audit: StubAudit, run: Run) -> None:
    audit.checkpoint = str(sign_note(Checkpoint(ORIGIN, 2**62, bytes(32)).text, audit.log.signer))
    assert places(report(run, exit_code=1)) == ["tile/entries/000"]
