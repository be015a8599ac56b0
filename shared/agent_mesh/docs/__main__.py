"""`python -m agent_mesh.docs [--check]`: write the generated files, or say which of them are out of date."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from agent_mesh.docs._files import ROOT, generated_files, outdated
from agent_mesh.docs._markdown import Undocumented


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when all is up to date or was written, 1 when something is out of date or undocumented."""
    parser = argparse.ArgumentParser(prog="python -m agent_mesh.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    check_only = parser.parse_args(arguments).check
    logging.disable(logging.INFO)  # to be described, the code is run, and it logs what it does
    try:
        files = generated_files()
    except Undocumented as gap:
        sys.stderr.write(f"error: {gap}\n")
        return 1
    finally:
        logging.disable(logging.NOTSET)
    stale = outdated(files)
    for name in stale:
        if not check_only:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(files[name], encoding="utf-8")
        sys.stdout.write(f"{name}: {'is out of date' if check_only else 'written'}\n")
    if check_only and stale:
        sys.stderr.write("error: run `python3 noxfile.py -s docs` and commit what it writes\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
