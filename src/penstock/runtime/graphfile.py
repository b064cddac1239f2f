"""Whether an ONNX file is whole: found in its bytes, so that the data plane needs no library to read graphs.

What comes in: the file's bytes, of anybody's making, and the package's own files of numbers beside it. What goes out:
whether it keeps numbers there, or a refusal. The runtime that executes graphs follows a tensor that lies in another
file, also out of the package's folder, and reads other forms than ONNX. Source: onnx 1.19, ``onnx/onnx.proto``;
protobuf's encoding of messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from penstock.errors import Untrusted

MAX_DEPTH = 100
TEXTS = "penstock.texts"
"""Under which a graph's metadata has the tokenizer that stands before it."""
CONSTANT = "constant"
FOLDER_OF_NUMBERS = "session.model_external_initializers_file_folder_path"
"""ONNX Runtime's name for the one folder in which a graph's files of numbers lie; else it takes the working folder."""
_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "main", 20: "training", 25: "function"},
    "main": {1: "node", 5: CONSTANT, 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    CONSTANT: {},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_PLACE = {b"location", b"offset", b"length"}
_DIGITS = re.compile(rb"[0-9]{1,15}")
_VARINT, _DELIMITED = 0, 2
_SIZES = {1: 8, 5: 4}
_FORMS = frozenset({_VARINT, _DELIMITED, *_SIZES})
_LOCATION = b"location"
_OTHER_FORM = b"ORTM"
# Numbers of trees stand one by one; they are stepped over together.
_LISTED = re.compile(rb"(?:\x3d.{4}|\x40[\x80-\xff]{0,9}[\x00-\x7f])+", re.DOTALL)


def require_whole(data: bytes, beside: Mapping[str, int] = MappingProxyType({})) -> bool:
    """Refuse a graph that keeps numbers outside of itself, or of the package's own files of numbers.

    Args:
        data: The graph's file.
        beside: Sizes in bytes, by name, of the files in which the graph's own constants may lie.

    Returns:
        Whether any do.

    Raises:
        Untrusted: It keeps numbers elsewhere, or it is no ONNX file.
    """
    if data[4:8] == _OTHER_FORM:
        raise _broken()
    # Where a tensor lies is said under this key; most graphs do not have the word, and are not looked through.
    if _LOCATION not in data:
        return False
    waiting = [("model", 0, len(data), 0)]
    graphs, apart = 0, False
    while waiting:
        kind, at, end, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _broken()
        graphs += kind in ("main", "graph")
        tensor, located, words = kind in ("tensor", CONSTANT), False, []
        for field, value, begin in _fields(data, at, end, listed=kind == "attribute"):
            if tensor and field == _EXTERNAL_DATA:
                words.append((begin, begin + value))
            elif begin and field in _PARTS[kind]:
                waiting.append((_PARTS[kind][field], begin, begin + value, depth + 1))
            located = located or (tensor and field == _DATA_LOCATION and value != 0)
        if words or located:
            _require_beside([_word(data, *one) for one in words], beside if kind == CONSTANT else {})
            apart = True
    if not graphs:
        raise _broken()
    return apart


def _word(data: bytes, at: int, end: int) -> tuple[bytes, bytes]:
    """One thing that is said of a tensor's place: what, and how."""
    said = {field: data[begin : begin + value] for field, value, begin in _fields(data, at, end, listed=False) if begin}
    return said.get(1, b""), said.get(2, b"")


def _require_beside(words: Sequence[tuple[bytes, bytes]], beside: Mapping[str, int]) -> None:
    """A place that is said whole, once, and lies within one of these files."""
    said = dict(words)
    if len(words) != len(_PLACE) or said.keys() != _PLACE:
        raise _outside()
    offset, length = said[b"offset"], said[b"length"]
    size = beside.get(said[_LOCATION].decode(errors="replace"), -1)
    if not (_DIGITS.fullmatch(offset) and _DIGITS.fullmatch(length) and int(offset) + int(length) <= size):
        raise _outside()


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
