"""Whether an ONNX file is whole: found in its bytes, so that the data plane needs no library to read graphs.

What comes in: the file's bytes, of anybody's making. What goes out: nothing, or a refusal. The runtime that executes
graphs follows a tensor that lies in another file, also out of the package's folder, and reads other forms than ONNX.
Source: onnx 1.19, ``onnx/onnx.proto``; protobuf's encoding of messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.errors import Untrusted

MAX_DEPTH = 100
_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _DELIMITED = 0, 2
_SIZES = {1: 8, 5: 4}
_FORMS = frozenset({_VARINT, _DELIMITED, *_SIZES})
_LOCATION = b"location"
_OTHER_FORM = b"ORTM"
# Numbers of trees stand one by one; they are stepped over together.
_LISTED = re.compile(rb"(?:\x3d.{4}|\x40[\x80-\xff]{0,9}[\x00-\x7f])+", re.DOTALL)


def require_whole(data: bytes) -> None:
    """Refuse a graph that keeps numbers outside of itself.

    Raises:
        Untrusted: It does, or it is no ONNX file.
    """
    if data[4:8] == _OTHER_FORM:
        raise _broken()
    # Where a tensor lies is said under this key; most graphs do not have the word, and are not looked through.
    if _LOCATION not in data:
        return
    waiting = [("model", 0, len(data), 0)]
    graphs = 0
    while waiting:
        kind, at, end, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _broken()
        graphs += kind == "graph"
        for field, value, begin in _fields(data, at, end, listed=kind == "attribute"):
            if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
                raise _outside()
            if begin and field in _PARTS[kind]:
                waiting.append((_PARTS[kind][field], begin, begin + value, depth + 1))
    if not graphs:
        raise _broken()


def _fields(data: bytes, at: int, end: int, *, listed: bool) -> Iterator[tuple[int, int, int]]:
    """Of one message: a field's number, then a number and 0, or the length of what it holds and where that begins."""
    while at < end:
        found = _LISTED.match(data, at, end) if listed else None
        if found is not None:
            at = found.end()
            continue
        tag, at = _number(data, at, end)
        form = tag & 7
        value, begin = 0, 0
        if form in (_VARINT, _DELIMITED):
            value, at = _number(data, at, end)
        if form == _DELIMITED:
            begin = at
        size = _SIZES.get(form, value if begin else 0)
        if form not in _FORMS or size > end - at:
            raise _broken()
        at += size
        yield tag >> 3, value, begin


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _broken()


def _outside() -> Untrusted:
    return Untrusted(
        "the graph keeps numbers in another file", "save it with its numbers inside", code="runtime.external_data"
    )


def _broken() -> Untrusted:
    return Untrusted("the graph's file is damaged, or no ONNX", "package the model again", code="runtime.no_graph")
