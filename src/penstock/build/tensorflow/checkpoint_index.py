"""The index of a SavedModel's variables, read without TensorFlow: where in which file each tensor lies.

    variables.index (a sorted table of names) -> header, entries -> each lies inside of a file that is there

What comes in: a folder's ``variables``. What goes out: nothing, or a refusal. Source: TensorFlow's ``tensor_bundle``
and ``lib/io/table``, which is LevelDB's table format.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from penstock.build.tensorflow.saved_messages import Message, read_message
from penstock.errors import Untrusted

INDEX = "variables/variables.index"
DATA = "variables/variables.data-{:05d}-of-{:05d}"
MAX_INDEX_BYTES = 256 << 20

_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_SIZES = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 8: 8, 9: 8, 10: 1, 14: 2, 17: 2, 18: 16, 19: 2, 22: 4, 23: 8}
"""Bytes of a number by its type; DT_STRING is as long as it says, resources and variants are none of a file's."""
_STRING = 7


def require_contained(index: bytes, sizes: Mapping[str, int]) -> None:
    """Hold every tensor of the index to the files that are there.

    Args:
        index: The index file.
        sizes: Bytes of every file of the SavedModel by its name.

    Raises:
        Untrusted: It cannot be read, names a file that is not there, or a tensor lies beyond its file's end.
    """
    entries = dict(_entries(index))
    header = read_message("BundleHeader", entries.pop(b"", b""), INDEX)
    shards = [DATA.format(at, header.num_shards) for at in range(min(header.num_shards, len(sizes) + 1))]
    there = {name for name in sizes if name.startswith("variables/") and name != INDEX}
    if header.endianness != 0 or set(shards) != there:
        raise _wrong("its files of numbers are not those that it names")
    for value in entries.values():
        _require_inside(read_message("BundleEntry", value, INDEX), [sizes[name] for name in shards])


def _require_inside(entry: Message, sizes: list[int]) -> None:
    """One tensor inside of its file, and as long as its shape says."""
    if not 0 <= entry.shard_id < len(sizes) or entry.offset < 0 or entry.size < 0:
        raise _wrong("a tensor lies in no file")
    if entry.offset + entry.size > sizes[entry.shard_id]:
        raise _wrong("a tensor lies beyond the end of its file")
    dimensions = [one.size for one in entry.shape.dim]
    if entry.dtype not in _SIZES and entry.dtype != _STRING:
        raise _wrong("a tensor is of a type that is no number and no text")
    if entry.slices or entry.dtype == _STRING:
        return
    if min(dimensions, default=0) < 0 or entry.size != math.prod(dimensions) * _SIZES[entry.dtype]:
        raise _wrong("a tensor is not as long as its shape says")


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of the whole table, in order."""
    if len(data) < _FOOTER_BYTES or data[-8:] != _MAGIC:
        raise _wrong("it is no table")
    footer = data[-_FOOTER_BYTES:-8]
    _, at = _number(footer, 0)  # first comes where a table of other things lies, which is empty
    _, at = _number(footer, at)
    last = None
    for _, handle in _block(data, *_handle(footer, at)):
        for name, value in _block(data, *_handle(handle, 0)):
            if last is not None and name <= last:
                raise _wrong("its names are not in order")
            last = name
            yield name, value


def _handle(data: bytes, at: int) -> tuple[int, int]:
    """Where a block lies, and how long it is."""
    offset, at = _number(data, at)
    size, _ = _number(data, at)
    return offset, size


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of one block; a name says how much of it is as in the name before."""
    end = offset + size
    if end + _TRAILER_BYTES > len(data) - _FOOTER_BYTES or data[end] != 0:
        raise _wrong("a part of it lies beyond its end, or is compressed")
    block = data[offset:end]
    restarts = int.from_bytes(block[-4:], "little")
    limit = len(block) - 4 * (restarts + 1)
    name, at = b"", 0
    while at < limit:
        shared, at = _number(block, at)
        own, at = _number(block, at)
        length, at = _number(block, at)
        if shared > len(name) or at + own + length > limit:
            raise _wrong("a part of it lies beyond its end")
        name = name[:shared] + block[at : at + own]
        yield name, block[at + own : at + own + length]
        at += own + length
    if at != max(limit, 0):
        raise _wrong("a part of it lies beyond its end")


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise _wrong("a part of it lies beyond its end")


def _wrong(what: str) -> Untrusted:
    return Untrusted(f"the index of the variables cannot be trusted: {what}", "export the model again", where=INDEX)
