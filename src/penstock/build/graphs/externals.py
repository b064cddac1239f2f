"""Weights that lie beside an ONNX graph, in files that it names; in the sandbox.

    graph + the folder of its archive -> `outside_places` -> where its constants' numbers lie
                                      -> `take_in`   -> one graph with its numbers inside of it

A graph can name any place as its data. What it is given is what lies in its own archive alone, which
`penstock.build.graphs.files` filled: a plain name, opened below that folder and never through a link, and as many bytes
as the tensor's shape says. Source: onnx 1.19, ``docs/ExternalData.md``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path

from onnx import ModelProto, TensorProto

from penstock.build.graphs.apart import BITS, NumbersPlace
from penstock.build.graphs.carried import messages_in
from penstock.errors import InvalidInput, Untrusted
from penstock.packages.tree import check_name, open_file

MAX_GRAPH_BYTES = (2 << 30) - (16 << 20)
"""What one message of protobuf can hold, with room for the nodes."""
_WORDS = frozenset({"location", "offset", "length", "checksum"})


def tensors_in(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a graph, wherever it stands: initializers, attributes, bodies, functions."""
    return (part for part in messages_in(model) if isinstance(part, TensorProto))


def is_outside(tensor: TensorProto) -> bool:
    """Whether its numbers are, or say that they are, in another file."""
    return bool(tensor.external_data) or tensor.data_location == TensorProto.EXTERNAL


def locations(model: ModelProto) -> frozenset[str]:
    """The files that a graph names."""
    entries = (entry for one in tensors_in(model) if is_outside(one) for entry in one.external_data)
    return frozenset(entry.value.removeprefix("./") for entry in entries if entry.key == "location")


def outside_places(model: ModelProto, folder: Path) -> dict[int, NumbersPlace]:
    """Where the numbers of its own constants lie, by place among its initializers; the graph forgets it.

    Args:
        model: As it was read.
        folder: Where its files are: the graph's own.

    Raises:
        Untrusted: A place is not a plain name of a file in the folder, or not within that file.
    """
    found: dict[int, NumbersPlace] = {}
    for at, tensor in enumerate(model.graph.initializer):
        if not is_outside(tensor):
            continue
        name, offset, length = _place(tensor)
        with open_file(folder, name) as file:
            if offset + length > os.fstat(file.fileno()).st_size:
                raise _untrusted("reaches beyond its file")
        found[at] = NumbersPlace(folder / name, offset, length)
        forget(tensor)
    return found


def take_in(model: ModelProto, folder: Path) -> None:
    """Put the numbers of a graph's files into the graph itself, changing it.

    Args:
        model: As it was read.
        folder: Where its files are: the graph's own.

    Raises:
        Untrusted: A place is not a plain name of a file in the folder, or not within that file.
        InvalidInput: The whole would be larger than one graph can be.
    """
    left = MAX_GRAPH_BYTES - model.ByteSize()
    for tensor in tensors_in(model):
        if not is_outside(tensor):
            continue
        name, offset, length = _place(tensor)
        left -= length
        if left < 0:
            raise InvalidInput(
                f"the graph and its data are more than {MAX_GRAPH_BYTES >> 20} MiB, the most that one file can hold",
                "export it with smaller numbers (FP16), or in parts",
                code="build.too_large",
            )
        with open_file(folder, name) as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise _untrusted("reaches beyond its file")
        forget(tensor)
        tensor.raw_data = data


def forget(tensor: TensorProto) -> None:
    """Let a tensor no longer say where its numbers are."""
    del tensor.external_data[:]
    tensor.ClearField("data_location")


def _place(tensor: TensorProto) -> tuple[str, int, int]:
    """File, offset and length of a tensor's numbers; the length has to be what its shape and type need."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    if len(said) != len(tensor.external_data) or not said.keys() <= _WORDS or "location" not in said:
        raise _untrusted("is said twice, in unknown words, or not at all")
    if any(tensor.HasField(name) for name in ("raw_data", "segment")) or tensor.data_type not in BITS:
        raise _untrusted("is of a tensor that has numbers of its own, or no numbers")
    if any(size < 0 for size in tensor.dims):
        raise _untrusted("is of a tensor without a size")
    needed = (prod(tensor.dims) * BITS[tensor.data_type] + 7) // 8
    offset, length = _whole(said.get("offset", "0")), _whole(said.get("length", str(needed)))
    if length != needed:
        raise _untrusted("is not as long as its shape says")
    return check_name(said["location"].removeprefix("./")), offset, length


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise _untrusted("is no number")
    return int(text)


def _untrusted(what: str) -> Untrusted:
    return Untrusted(
        f"the place of a graph's data {what}", "export the graph anew, its data beside it", code="build.external_data"
    )
