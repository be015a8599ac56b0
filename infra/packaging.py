"""A function's zip: its `main.py`, its `requirements.txt` and the package. The same tree gives the same bytes."""

import hashlib
import json
import os
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PACKAGE = PurePosixPath("shared/agent_mesh")
OWN_FILES = ("main.py", "requirements.txt")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip can name
REGULAR_FILE = 0o100644 << 16
UNIX = 3


@dataclass(frozen=True)
class Role:
    """One deployed function, as infra/roles.json names it."""

    name: str
    source: str
    entry_point: str


def roles(root: Path) -> list[Role]:
    declared = json.loads((root / "infra/roles.json").read_text())["roles"]
    return [Role(name, role["source"], role["entryPoint"]) for name, role in sorted(declared.items())]


def build(root: Path, role: Role, target: Path) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    archive = target / f"{role.name}.zip"
    unfinished = archive.with_suffix(".zip.part")
    write(unfinished, contents(root, role))
    unfinished.replace(archive)
    return archive


def contents(root: Path, role: Role) -> dict[str, bytes]:
    """What goes into the zip, by its name there."""
    places = {PurePosixPath(role.source) / name: PurePosixPath(name) for name in OWN_FILES}
    for path in trackable(root, str(PACKAGE)):
        places[path] = path.relative_to(PACKAGE.parent)
    missing = [str(path) for path in places if not (root / path).is_file()]
    if missing:
        raise FileNotFoundError(f"the zip of role {role.name} needs {', '.join(missing)} under {root}")
    return {str(name): (root / path).read_bytes() for path, name in places.items()}


def trackable(root: Path, folder: str) -> list[PurePosixPath]:
    """The files of a folder that git would track, whether or not the tree is a checkout.

    An empty repository beside the tree makes every file an untracked one, so that the tree's ignore rules decide alone.
    """
    with tempfile.TemporaryDirectory() as empty:
        git = ["git", "--git-dir", empty, "-c", f"core.excludesFile={os.devnull}"]
        subprocess.run([*git, "init", "--quiet", "--bare"], check=True, cwd=root)
        listing = [*git, "--work-tree", str(root), "ls-files", "-z", "--others", "--exclude-standard", "--", folder]
        found = subprocess.run(listing, check=True, cwd=root, stdout=subprocess.PIPE).stdout
    return sorted(PurePosixPath(os.fsdecode(name)) for name in found.split(b"\0") if name)


def write(archive: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(archive, "w") as opened:
        for name, content in sorted(files.items()):
            opened.writestr(entry(name), content)


def entry(name: str) -> zipfile.ZipInfo:
    """No time, owner or mode of this machine; stored, because compressed bytes differ between versions of zlib."""
    made = zipfile.ZipInfo(name, date_time=EPOCH)
    made.compress_type = zipfile.ZIP_STORED
    made.create_system = UNIX
    made.external_attr = REGULAR_FILE
    return made


def digest(archive: Path) -> str:
    return hashlib.sha256(archive.read_bytes()).hexdigest()
