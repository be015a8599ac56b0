"""Import Google's message classes without the client libraries around them.

``google/pubsub_v1/__init__.py`` imports every client of the service: 0.3 s and 50 MB for a server
that needs only the messages. Only for a process of our own: elsewhere it would hide the clients.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


def skip_package_init(package: str) -> None:
    """Make the submodules of a package importable without running its ``__init__``."""
    parent, _, name = package.rpartition(".")
    for folder in importlib.import_module(parent).__path__:
        place = Path(folder) / name
        if (place / "__init__.py").is_file() and package not in sys.modules:
            bare = ModuleType(package)
            bare.__path__ = [str(place)]
            sys.modules[package] = bare
