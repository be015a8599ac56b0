"""`docs/errors.md`: every code of a problem, of a task's fault and of the client."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from agent_mesh.cli._failures import usage_problem
from agent_mesh.client import MeshClientError
from agent_mesh.contracts.problems import MeshError, Problem
from agent_mesh.docs._codes import FAULT_CODES, declared_codes
from agent_mesh.docs._fields import meaning
from agent_mesh.docs._markdown import code, require_equal, table

_INTRODUCTION: Final = """\
Every error body is [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) `application/problem+json`. `code` is stable:
switch on it, not on words. `traceId` leads to the logs. A `Retry-After` header comes where waiting helps.
"""

_FAULTS: Final = """\
A task that did not succeed says why in `error`: `code`, `detail`, and `retryable` where another try may go well. A
run's `error` is the same. Agents add codes of their own: `raise TerminalError("...", code="empty_text")`. A refused
task has the code of its problem, such as `agent_unknown`.
"""

_CLIENT: Final = """\
`MeshClient` raises, and `agent-mesh --json` prints, these besides the mesh's own problems. `code` and `status` are
filled in the same way; the mesh did not send them. `http_502` and the like come from something in front of the mesh.
"""


def page(package: Path) -> str:
    """Return the page; `package` is the folder of the source that faults are looked for in."""
    require_equal("fault codes", declared_codes(package), FAULT_CODES)
    schema = Problem.model_json_schema(by_alias=True)["properties"]
    fields = [[code(name), meaning("Problem", name, part)] for name, part in schema.items()]
    return "\n\n".join(
        [
            _INTRODUCTION.strip(),
            table(["field", "meaning"], fields),
            "## Problems\n\n" + _problems(MeshError),
            "## Codes in `task.error`\n\n" + _FAULTS.strip(),
            table(["code", "meaning"], [[code(each), FAULT_CODES[each]] for each in sorted(FAULT_CODES)]),
            "## Codes of the client\n\n" + _CLIENT.strip(),
            _problems(MeshClientError) + "\n" + _usage(),
        ]
    )


def problem_classes(base: type[Any]) -> Iterator[type[Any]]:
    """Yield every class of ours below `base` that has a code of its own."""
    for each in base.__subclasses__():
        if "code" in vars(each) and each.__module__.startswith("agent_mesh."):
            yield each
        yield from problem_classes(each)


def _problems(base: type[Any]) -> str:
    kinds = sorted(problem_classes(base), key=lambda kind: (kind.status, kind.code))
    rows = [[code(kind.code), str(kind.status), kind.title, _meaning(kind)] for kind in kinds]
    return table(["code", "status", "title", "meaning"], rows)


def _usage() -> str:
    """Return the row of the one problem that only the command line has."""
    problem = usage_problem("")
    return f"| `{problem.code}` | {problem.status} | {problem.title} | A word of the command line is wrong. |"


def _meaning(kind: type[Any]) -> str:
    return (inspect.getdoc(kind) or "").split("\n\n")[0]
