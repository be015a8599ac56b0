"""The state directory: what outlives a stack, and what must not."""

from __future__ import annotations

from pathlib import Path

from emulator.stack_file import StateDirectory


def test_what_functions_keep_is_forgotten_with_the_documents_and_only_then(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    kept, unkept = state.for_functions(kept=True), state.for_functions(kept=False)
    for folder in (kept, unkept):
        (folder / "ledger-key").write_text("key")
    assert not (state.for_functions(kept=False) / "ledger-key").exists()
    assert (state.for_functions(kept=True) / "ledger-key").exists()
