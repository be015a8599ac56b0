"""A packaged bundle as the engine compiled it: a cold start loads it in a fraction of the time that compiling takes.

It decides only in place of the sources that it was made from: it names their version, which is a hash, and the engine's
release, and it has a hash of its own. If any of the three is not what it should be, the sources are compiled. Compiling
is repeatable, so that a test compares it with them byte for byte. `python -m agent_mesh.policy save` writes it.
Versions in Firestore have none: what somebody else compiled cannot be checked by loading it.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from agent_mesh.policy._vetting import vet
from agent_mesh.policy.bundles import Bundle, shelf

_SUFFIX: Final = ".compiled.json"


class Saved(BaseModel):
    """The file beside the bundle's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: str
    engine: str
    looks_into_text: bool
    sha256: str
    compiled: str

    @property
    def binary(self) -> bytes:
        return base64.b64decode(self.compiled, validate=True)

    def fits(self, bundle: Bundle) -> bool:
        """Tell whether it is whole, made from these rules, and for the engine that is here."""
        from agent_mesh.policy._rego import ENGINE

        if self.engine != ENGINE or self.version != bundle.version:
            return False
        try:
            return hashlib.sha256(self.binary).hexdigest() == self.sha256
        except ValueError:  # no base64
            return False


def saved_file(name: str) -> Traversable:
    """Return where a packaged bundle's compiled form stands, if it has one."""
    return shelf().joinpath(name + _SUFFIX)


def compile_to_save(bundle: Bundle) -> Saved:
    """Return the compiled form of a bundle; raise `BundleRefused` if it is unfit."""
    from agent_mesh.policy._rego import ENGINE, Compiled, is_builtin

    vetted = vet(bundle.modules, is_builtin)
    compiled = Compiled.of(bundle.modules, bundle.base_document_text, sorted(set(bundle.decisions.values())))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        compiled.save(path)
        binary = path.read_bytes()
    return Saved(
        version=bundle.version,
        engine=ENGINE,
        looks_into_text=vetted.looks_into_text,
        sha256=hashlib.sha256(binary).hexdigest(),
        compiled=base64.b64encode(binary).decode(),
    )


def read_saved(bundle: Bundle) -> Saved | None:
    """Return the saved form of a packaged bundle; None unless it fits."""
    try:
        saved = Saved.model_validate_json(saved_file(bundle.name).read_bytes())
    except (OSError, ValidationError):
        return None
    return saved if saved.fits(bundle) else None
