"""Bundles: rules, their tests and a manifest, under one version that is the hash of what decides.

`bundles/<name>/` in this package holds `manifest.json`, the rules in `*.rego`, their tests in `*_test.rego` and, where
there is any, the base document in `data.json`.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from agent_mesh.contracts.values import canonical_json
from agent_mesh.policy._vetting import TEST_SUFFIX
from agent_mesh.policy.errors import BundleRefused, NoAnswer, Refusal

MANIFEST: Final = "manifest.json"
BASE_DOCUMENT: Final = "data.json"

_NAME: Final = r"^[a-z][a-z0-9_]{0,62}$"
_JSON_OBJECT: Final = TypeAdapter(dict[str, JsonValue])

_Kind = Annotated[str, Field(pattern=_NAME)]
_FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,60}\.rego$")]
Entrypoint = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)+$")]


class Manifest(BaseModel):
    """`manifest.json`: what people call this version, and which rule decides what."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    release: str = Field(pattern=r"^\d+\.\d+\.\d+$", description="For people; decisions name the hash.")
    decisions: dict[_Kind, Entrypoint] = Field(
        max_length=2_000, description="Entry point by kind of decision, such as `access`."
    )


class Bundle(BaseModel):
    """One version of a policy, wherever it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=_NAME, description="Name of the bundle; the mesh is decided for by `mesh`.")
    manifest: Manifest = Field(description="What it decides.")
    modules: dict[_FileName, str] = Field(min_length=1, max_length=100, description="Rules by file name.")
    tests: dict[_FileName, str] = Field(
        default={}, max_length=100, description="Their tests by file name, which ends in `_test.rego`."
    )
    base_document: dict[str, JsonValue] = Field(default={}, description="What the rules see as `data`.")

    @model_validator(mode="after")
    def _tests_stand_beside_the_rules(self) -> Self:
        """What is rehearsed with its tests must be what decides without them: no test may take a rule's place."""
        if any(file.endswith(TEST_SUFFIX) for file in self.modules):
            message = f"a file of rules may not end in {TEST_SUFFIX}"
            raise ValueError(message)
        if not all(file.endswith(TEST_SUFFIX) for file in self.tests):
            message = f"a file of tests ends in {TEST_SUFFIX}"
            raise ValueError(message)
        return self

    @property
    def decisions(self) -> dict[str, str]:
        return self.manifest.decisions

    @property
    def base_document_text(self) -> str:
        """The base document as canonical JSON."""
        return canonical_json(self.base_document)

    def entrypoint(self, kind: str) -> str:
        """Return the rule that decides this kind; raise `NoAnswer` if none does."""
        try:
            return self.decisions[kind]
        except KeyError:
            message = f"Bundle {self.name} decides nothing of kind {kind!r}."
            raise NoAnswer(Refusal.UNDEFINED, message) from None

    @property
    def version(self) -> str:
        """Return `sha256:` and the hash of what decides; a new test makes no new version."""
        content: JsonValue = {
            "name": self.name,
            "decisions": dict(self.decisions),
            "modules": dict(self.modules),
            "data": self.base_document,
        }
        return "sha256:" + hashlib.sha256(canonical_json(content).encode()).hexdigest()


def bundle_names() -> list[str]:
    """Return the names of the bundles in this package."""
    return sorted(folder.name for folder in shelf().iterdir() if folder.joinpath(MANIFEST).is_file())


def packaged_bundle(name: str) -> Bundle:
    """Return a bundle of this package; raise `BundleRefused` if there is none of that name."""
    if name not in bundle_names():
        raise BundleRefused(f"There is no bundle {name!r}; there are {', '.join(bundle_names())}.")
    return read_bundle(name, shelf().joinpath(name))


def read_bundle(name: str, folder: Traversable) -> Bundle:
    """Return the bundle in a folder; raise `BundleRefused` if it is incomplete or does not fit."""
    texts = {item.name: item.read_text(encoding="utf-8") for item in folder.iterdir() if _belongs(item)}
    if MANIFEST not in texts:
        raise BundleRefused(f"Bundle {name!r} has no {MANIFEST}.")
    rego = {file: text for file, text in texts.items() if file.endswith(".rego")}
    try:
        return Bundle(
            name=name,
            manifest=Manifest.model_validate_json(texts[MANIFEST]),
            modules={file: text for file, text in rego.items() if not file.endswith(TEST_SUFFIX)},
            tests={file: text for file, text in rego.items() if file.endswith(TEST_SUFFIX)},
            base_document=_JSON_OBJECT.validate_json(texts.get(BASE_DOCUMENT, "{}")),
        )
    except ValidationError as error:
        raise BundleRefused(f"Bundle {name!r} does not fit: {error}") from error


def _belongs(item: Traversable) -> bool:
    return item.is_file() and (item.name in {MANIFEST, BASE_DOCUMENT} or item.name.endswith(".rego"))


def shelf() -> Traversable:
    """Return the folder of the packaged bundles."""
    return files("agent_mesh.policy").joinpath("bundles")
