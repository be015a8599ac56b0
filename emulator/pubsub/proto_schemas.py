"""Protocol Buffers schemas, compiled by Google's own compiler where ``grpcio-tools`` is installed."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from emulator.pubsub.protos import Proto

_FILE: Final = "schema.proto"


def message_class(definition: str) -> Proto:
    """The class of the definition's one top-level message; None without the compiler. Raises ValueError."""
    compiler = _compiler()
    return None if compiler is None else _compiled(definition)


def read_json(kind: Proto, data: bytes) -> None:
    """Raise ValueError unless the data is such a message in JSON."""
    json_format.Parse(data.decode(), kind())


@lru_cache(maxsize=64)
def _compiled(definition: str) -> Proto:
    import tempfile

    compiler = _compiler()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / _FILE).write_text(definition)
        google = Path(compiler.__file__).parent / "_proto"
        output = place / "compiled"
        words = ["protoc", f"-I{place}", f"-I{google}", "--include_imports", f"--descriptor_set_out={output}", _FILE]
        if compiler.main(words):
            raise ValueError("the definition does not compile")
        files = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())
    return _only_message(files)


def _only_message(files: descriptor_pb2.FileDescriptorSet) -> Proto:
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    messages = [*pool.FindFileByName(_FILE).message_types_by_name.values()]
    if len(messages) != 1:
        raise ValueError(f"the definition has {len(messages)} top-level messages instead of one")
    return message_factory.GetMessageClass(messages[0])


@lru_cache(maxsize=1)
def _compiler() -> Any:  # noqa: ANN401  no types without the library
    try:
        return importlib.import_module("grpc_tools.protoc")
    except ImportError:
        return None
