"""The large numbers of an ONNX graph set apart in files beside it: whoever works on the graph then holds a small one.

    FILE.onnx -> `read_skeleton`, which steps over large numbers -> `Skeleton`: a small graph, and where its numbers are
              -> `settle` -> the graph, its numbers in model.data, model.1.data, ...; or inside of it where they are few

Nothing but one piece of a file is held at a time, and what a graph can hold no longer ends at the two gibibytes of one
protobuf. Only constants of the graph itself are set apart: what stands in its nodes stays there. Sources: onnx 1.19,
``onnx/onnx.proto`` and ``docs/ExternalData.md``; protobuf's encoding of messages.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO, NamedTuple

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from penstock.errors import InvalidInput
from penstock.packages.manifest import HEAD_OF_NUMBERS

APART_BYTES = 128 << 20
"""A graph of fewer is one file, which is easier to hand on."""
LARGE_BYTES = 64 << 10
"""A smaller constant stays in the graph: shapes and axes have to, for whoever infers sizes."""
MOST_BYTES = 1 << 30
"""Of one file of numbers, unless one constant is longer."""
PAGE_BYTES = 4096
BITS: dict[int, int] = {
    TensorProto.DOUBLE: 64, TensorProto.INT64: 64, TensorProto.UINT64: 64, TensorProto.COMPLEX64: 64,
    TensorProto.COMPLEX128: 128, TensorProto.FLOAT: 32, TensorProto.INT32: 32, TensorProto.UINT32: 32,
    TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16, TensorProto.INT16: 16, TensorProto.UINT16: 16,
    TensorProto.INT8: 8, TensorProto.UINT8: 8, TensorProto.BOOL: 8, TensorProto.FLOAT8E4M3FN: 8,
    TensorProto.FLOAT8E4M3FNUZ: 8, TensorProto.FLOAT8E5M2: 8, TensorProto.FLOAT8E5M2FNUZ: 8,
    TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4,
}  # fmt: skip

_GRAPH, _CONSTANT = 7, 5
_FLOATS, _RAW, _DOUBLES = 4, 9, 10
# Packed lists of these are the very bytes that `raw_data` would hold.
_TYPES = {_FLOATS: TensorProto.FLOAT, _DOUBLES: TensorProto.DOUBLE}
_VARINT, _DELIMITED = 0, 2
_SIZES = {1: 8, 5: 4}
_CHUNK_BYTES = 1 << 20


class NumbersPlace(NamedTuple):
    """Where a constant's numbers lie: a file of our own, and which bytes of it."""

    file: Path
    offset: int
    length: int


class Skeleton(NamedTuple):
    """A graph without its large numbers.

    Attributes:
        model: Each constant in `places` has its name, type and sizes alone.
        places: Offset and length in the graph's file, by the constant's place among its initializers.
    """

    model: ModelProto
    places: dict[int, tuple[int, int]]


def read_skeleton(file: IO[bytes], *, large_bytes: int = LARGE_BYTES) -> Skeleton | None:
    """Read a graph, and step over its large numbers.

    Args:
        file: At its start; it is one that can go back.
        large_bytes: A constant of fewer is read.

    Returns:
        None where it is no ONNX graph.
    """
    start = file.read(16)
    if len(start) < 16 or start[0] != 0x08 or start[1] > 0x20:
        return None  # the version comes first
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    places: dict[int, tuple[int, int]] = {}
    try:
        parts = _Reader(file, large_bytes, places)
        model = ModelProto.FromString(parts.model(end))
    except (DecodeError, MemoryError, EOFError):
        return None
    return Skeleton(model, places) if model.graph.node and model.opset_import else None


class _Reader:
    """Copies a model's bytes, all but those of large constants."""

    def __init__(self, file: IO[bytes], large_bytes: int, places: dict[int, tuple[int, int]]) -> None:
        self._file = file
        self._large_bytes = large_bytes
        self._places = places
        self._constants = 0

    def model(self, end: int) -> bytes:
        parts = []
        for number, start, begin, stop in self._fields(end):
            parts.append(_field(_GRAPH, self._graph(stop)) if number == _GRAPH and begin else self._copy(start, stop))
        return b"".join(parts)

    def _graph(self, end: int) -> bytes:
        parts = []
        for number, start, begin, stop in self._fields(end):
            constant = number == _CONSTANT and begin
            if constant and stop - begin >= self._large_bytes:
                parts.append(_field(_CONSTANT, self._tensor(begin, stop)))
            else:
                parts.append(self._copy(start, stop))
            self._constants += bool(constant)
        return b"".join(parts)

    def _tensor(self, begin: int, end: int) -> bytes:
        """A constant without its numbers; whole where they are in a form that no file of numbers has."""
        parts, found = [], []
        for number, start, first, stop in self._fields(end):
            if number in (_FLOATS, _RAW, _DOUBLES) and first and stop - first >= self._large_bytes:
                found.append((number, first, stop - first))
            else:
                parts.append(self._copy(start, stop))
        bare = TensorProto.FromString(b"".join(parts))
        if len(found) == 1 and BITS.get(bare.data_type):
            number, first, length = found[0]
            whole = length == (prod(bare.dims) * BITS[bare.data_type] + 7) // 8
            if whole and _TYPES.get(number, bare.data_type) == bare.data_type and not _has_numbers(bare):
                self._places[self._constants] = first, length
                return b"".join(parts)
        return self._copy(begin, end)

    def _fields(self, end: int) -> Iterator[tuple[int, int, int, int]]:
        """From here on: a field's number, where it starts, where what it holds begins (0 for a number), its end."""
        file = self._file
        while (start := file.tell()) < end:
            tag = self._number()
            form, begin = tag & 7, 0
            if form == _VARINT:
                self._number()
                stop = file.tell()
            elif form == _DELIMITED:
                length = self._number()
                begin = file.tell()
                stop = begin + length
            elif form in _SIZES:
                stop = file.tell() + _SIZES[form]
            else:
                raise EOFError
            if stop > end:
                raise EOFError
            yield tag >> 3, start, begin, stop
            file.seek(stop)

    def _number(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._file.read(1)
            if not byte:
                break
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value
        raise EOFError

    def _copy(self, start: int, stop: int) -> bytes:
        self._file.seek(start)
        return self._file.read(stop - start)


def settle(
    model: ModelProto,
    places: Mapping[int, NumbersPlace],
    folder: Path,
    *,
    apart_bytes: int = APART_BYTES,
    large_bytes: int = LARGE_BYTES,
    most_bytes: int = MOST_BYTES,
) -> None:
    """Give a graph its numbers: inside of it where they are few, else in files of a folder, which it then names.

    Args:
        model: Changed in place.
        places: Where the numbers of its constants lie now, by place among its initializers.
        folder: Where the files are made.
        apart_bytes: So many in all are set apart.
        large_bytes: A constant of fewer stays inside all the same.
        most_bytes: A file is not made longer, unless by one constant.

    Raises:
        InvalidInput: One constant is longer than a file here may be.
    """
    apart = sum(place.length for place in places.values()) >= apart_bytes
    files = _Files(folder, most_bytes)
    try:
        for at, place in sorted(places.items()):
            tensor = model.graph.initializer[at]
            if apart and place.length >= large_bytes:
                name, offset = files.add(place)
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in (("location", name), ("offset", str(offset)), ("length", str(place.length))):
                    tensor.external_data.add(key=key, value=value)
            else:
                with place.file.open("rb") as file:
                    file.seek(place.offset)
                    tensor.raw_data = file.read(place.length)
    except OSError as error:
        raise InvalidInput(
            f"the graph's numbers cannot be set apart: {error.strerror}",
            "a constant may have up to two gibibytes, and the disk needs the model's size three times",
            code="build.too_large",
        ) from error
    finally:
        files.close()


class _Files:
    """Files of numbers, one after the other."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most = most_bytes
        self._file: IO[bytes] | None = None
        self._count = 0
        self._name = ""

    def add(self, place: NumbersPlace) -> tuple[str, int]:
        """Copy a constant's numbers to the end; the file's name, and where they begin in it."""
        end = 0 if self._file is None else self._file.tell()
        if self._file is None or end + PAGE_BYTES + place.length > self._most:
            self.close()
            self._name = f"model.{self._count}.data" if self._count else "model.data"
            self._count += 1
            self._file = (self._folder / self._name).open("xb")
            end = self._file.write(HEAD_OF_NUMBERS)
        offset = self._file.seek(-(-end // PAGE_BYTES) * PAGE_BYTES)
        left = place.length
        with place.file.open("rb") as source:
            source.seek(place.offset)
            while left:
                chunk = source.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise OSError(5, "the model's file became shorter")
                left -= self._file.write(chunk)
        return self._name, offset

    def close(self) -> None:
        """The last one."""
        if self._file is not None:
            self._file.close()


def _has_numbers(tensor: TensorProto) -> bool:
    """Whether numbers are in it in yet another form, or elsewhere."""
    lists = (tensor.float_data, tensor.int32_data, tensor.string_data, tensor.int64_data, tensor.double_data)
    others = tensor.external_data or tensor.data_location or tensor.HasField("raw_data") or tensor.HasField("segment")
    return bool(others or tensor.uint64_data or any(lists))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _DELIMITED) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))
