"""Resource names and their rules: https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names."""

from __future__ import annotations

import os
import re
from typing import Final

from emulator.refusals import Refusal, invalid, not_found

TOPICS: Final = "topics"
SUBSCRIPTIONS: Final = "subscriptions"
SNAPSHOTS: Final = "snapshots"
SCHEMAS: Final = "schemas"

DELETED_TOPIC: Final = "_deleted-topic_"
"""The topic of a subscription whose topic was deleted."""

_PROJECT: Final = r"projects/(?:[a-z0-9.-]+:)?[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME: Final = re.compile(
    rf"(?P<project>{_PROJECT})/(?P<kind>topics|subscriptions|snapshots|schemas)/"
    r"(?!goog)[A-Za-z][A-Za-z0-9_.~+%-]{2,254}"
)
_WHOLE_PROJECT: Final = re.compile(_PROJECT)


def check_name(kind: str, name: str) -> None:
    """Raise Refusal unless the name may be given to a new resource of this kind."""
    match = _NAME.fullmatch(name)
    if match is None or match["kind"] != kind:
        raise invalid(f"Invalid [{kind}] name: (name={name})")


def missing(kind: str, name: str, otherwise: str) -> Refusal:
    """Why nothing has this name; raises Refusal at once when nothing could have it."""
    check_name(kind, name)
    return not_found(otherwise)


def check_project(project: str) -> None:
    """Raise Refusal unless this is ``projects/P``."""
    if not _WHOLE_PROJECT.fullmatch(project):
        raise invalid(f"Invalid [projects] name: (name={project})")


def project_of(name: str) -> str:
    """``projects/P`` of a resource's full name."""
    return "/".join(name.split("/", 2)[:2])


def random_name(project: str, kind: str) -> str:
    """A name for a resource whose creator gave none."""
    return f"{project}/{kind}/auto-{os.urandom(8).hex()}"
