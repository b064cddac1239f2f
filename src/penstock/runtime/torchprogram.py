"""An exported program whose weights are mapped where they lie in its file, so that all who load it hold them once.

    .pt2 -> `load_program` -> what ``torch.export.load`` gives

PyTorch copies each weight out of the file; its reader of records is stood in for while it loads, and where that reader
is not there, or weights are packed, they are copied as ever. What a program writes to becomes a copy of its own: the
file is never changed. Source: PyTorch 2.13, ``torch/export/pt2_archive/_package.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import BadZipFile, ZipFile

from penstock.packages.zip import place_of

LARGE_BYTES = 64 << 10
"""Smaller ones are copied."""
_MODULE, _READER = "torch.export.pt2_archive._package", "PT2ArchiveReader"
_MAKING = frozenset(
    f"aten::{name}"
    for name in (
        "adaptive_avg_pool2d", "add", "addmm", "avg_pool2d", "batch_norm", "bmm", "cat", "clone", "conv1d", "conv2d",
        "conv3d", "convolution", "div", "embedding", "full", "gelu", "group_norm", "layer_norm", "linear", "matmul",
        "max_pool2d", "mm", "mul", "ones", "relu", "sigmoid", "silu", "softmax", "stack", "sub", "tanh", "zeros",
        "zeros_like",
    )
)  # fmt: skip
"""Operators whose answer is new: writing to it changes nothing else."""
_WRITTEN = ("buffers_to_mutate", "parameters_to_mutate", "user_inputs_to_mutate")


class MappedRecords:
    """PyTorch's reader of a file's records, but for where the numbers of large ones are.

    Args:
        torch: The library.
        theirs: Its reader.
        whole: The file, mapped.
        places: Where records begin, and how many bytes they have, by name.
    """

    def __init__(self, torch: ModuleType, theirs: Any, whole: mmap, places: Mapping[str, tuple[int, int]]) -> None:
        self._torch = torch
        self._theirs = theirs
        self._whole = whole
        self._places = places

    def __getattr__(self, name: str) -> Any:
        """What is asked of theirs."""
        return getattr(self._theirs, name)

    def get_storage_from_record(self, name: str, count: int, dtype: Any) -> Any:
        """A record's numbers."""
        at, size = self._places.get(name, (0, 0))
        if at and at % dtype.itemsize == 0 and size == count * dtype.itemsize:
            return self._torch.frombuffer(self._whole, dtype=dtype, count=count, offset=at)
        return self._theirs.get_storage_from_record(name, count, dtype)


def load_program(torch: ModuleType, path: Path, extra: dict[str, Any]) -> Any:
    """Load an exported program.

    Args:
        torch: The library.
        path: Its file.
        extra: Extra files by name, which are filled in.
    """
    with _mapping(torch, path):
        return import_module("torch.export").load(str(path), extra_files=extra)


def writes(program: Any) -> bool:
    """Whether asking a program may change what it holds: True where that cannot be told."""
    if any(getattr(program.graph_signature, name, None) for name in _WRITTEN):
        return True
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    return not all(_is_computing(node) or all(map(_is_fresh, _written(node))) for node in calls)


def _is_computing(node: Any) -> bool:
    """Whether it is arithmetic with sizes, or one of several answers: what has no schema, and no graph in it."""
    return getattr(node.target, "__module__", "") in ("_operator", "math")


def _written(node: Any) -> list[Any]:
    """What an operator writes to; one without a schema writes to nobody knows what."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return [None]
    found = []
    for at, one in enumerate(schema.arguments):
        if one.alias_info is not None and one.alias_info.is_write:
            found.append(node.args[at] if at < len(node.args) else node.kwargs.get(one.name))
    return found


def _is_fresh(node: Any) -> bool:
    """Whether it is what an operator has just made, or what another wrote to that was."""
    while getattr(node, "op", "") == "call_function":
        schema = getattr(node.target, "_schema", None)
        if schema is None or schema.name in _MAKING:
            return schema is not None
        written = _written(node)
        if len(written) != 1:
            return False
        node = written[0]
    return False


@contextmanager
def _mapping(torch: ModuleType, path: Path) -> Iterator[None]:
    """Stand in for PyTorch's reader, where there is something to map."""
    places = _places(path)
    try:
        package = import_module(_MODULE)
        theirs = getattr(package, _READER)
    except (ModuleNotFoundError, AttributeError):
        places = {}
    if not places:
        yield
        return
    with path.open("rb") as file:
        whole = mmap(file.fileno(), 0, access=ACCESS_COPY)

    def reader(given: Any) -> Any:
        made = theirs(given)
        made.archive_file = MappedRecords(torch, made.archive_file, whole, places)
        return made

    setattr(package, _READER, reader)
    try:
        yield
    finally:
        setattr(package, _READER, theirs)


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Where large records begin that are stored as they are, by name without the folder that all names begin with."""
    found = {}
    try:
        with path.open("rb") as file, ZipFile(file) as archive:
            for member in archive.infolist():
                at = place_of(file, member) if member.file_size >= LARGE_BYTES else 0
                if at:
                    found[member.filename.partition("/")[2]] = at, member.file_size
    except BadZipFile:  # PyTorch says what is wrong with it
        return {}
    return found
