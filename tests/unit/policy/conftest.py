from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from agent_mesh.policy import Bundle, Engine, InputLimits, Manifest, Policy, packaged_bundle

RULE = "p/allow"


def bundle_of(*rules: str, **more: str) -> Bundle:
    """A bundle of package `p` with these rules; `more` are further modules by the name of their package."""
    modules = {"p.rego": "\n\n".join(("package p", *rules)) + "\n"}
    modules |= {f"{package}.rego": f"package {package}\n\n{source}\n" for package, source in more.items()}
    return Bundle(name="trial", manifest=Manifest(release="1.0.0", decisions={"trial": RULE}), modules=modules)


@pytest.fixture
def engine_of() -> Iterator[Callable[..., Engine]]:
    """Makes engines of rules of package `p`, and closes them."""
    made: list[Engine] = []

    def make(*rules: str, timeout_s: float = 20.0, workers: int = 2, limits: InputLimits | None = None) -> Engine:
        made.append(Engine(bundle_of(*rules), timeout_s=timeout_s, workers=workers, limits=limits))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture(scope="session")
def mesh() -> Iterator[Policy]:
    """The packaged policy `mesh`, in force."""
    bundle = packaged_bundle("mesh")
    policy = Policy(bundle, Engine(bundle, timeout_s=20.0))
    yield policy
    policy.close()
