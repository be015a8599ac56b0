from __future__ import annotations

import inspect

import agent_mesh.client
from agent_mesh.client import MeshClientError, _errors


def test_all_names_exactly_what_can_be_imported() -> None:
    public = {name for name, value in vars(agent_mesh.client).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert public - {"annotations"} == set(agent_mesh.client.__all__)


def test_every_error_is_public() -> None:
    errors = {
        name for name, value in vars(_errors).items() if inspect.isclass(value) and issubclass(value, MeshClientError)
    }
    assert errors <= set(agent_mesh.client.__all__)


def test_the_drawn_tree_is_the_tree_of_the_classes() -> None:
    drawing = (_errors.__doc__ or "").split("```")[1]
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in drawing.strip().splitlines():
        depth = max(line.find("── "), 0) and line.find("── ") // 4 + 1
        name = line[line.find("── ") + 3 :].split()[0] if "── " in line else line.split()[0]
        path[depth:] = [name]
        drawn[name] = path[depth - 1] if depth else "Exception"
    real = {
        name: value.__bases__[0].__name__
        for name, value in vars(_errors).items()
        if inspect.isclass(value) and issubclass(value, MeshClientError)
    }
    assert drawn == real
