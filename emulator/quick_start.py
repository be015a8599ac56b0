"""How a server that is a process of its own starts in little time and stays small.

Only for such a process: what is left out here, a program around an embedded server may want.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from typing import Final

_GARBAGE_LOOKED_FOR_AFTER: Final = 50_000


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import the server in this block: without garbage collection, and with an asyncio that knows no TLS.

    asyncio takes TLS when it finds the module, and OpenSSL is a tenth of the server's memory. What speaks TLS, as a
    push to https does, imports it for itself when it is needed.
    """
    gc.disable()
    absent = "ssl" not in sys.modules
    if absent:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # documented: to import it fails
    try:
        yield
    finally:
        if absent:
            del sys.modules["ssl"]
        gc.freeze()  # what was imported stays; and what is stored is no garbage either, so look for it seldom
        gc.set_threshold(_GARBAGE_LOOKED_FOR_AFTER)
        gc.enable()
