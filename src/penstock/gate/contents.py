"""What a package's files are, by their bytes before their names (part of ``gate``).

What comes in: an opened package. What goes out: the kind of each file, which of them carry code, and the operators
of each graph. Files are looked at, never loaded: nothing of the model's runs here.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError

from penstock.packages.manifest import HEAD_OF_NUMBERS

HEAD_BYTES = 4096
NUMBERS_ALONE = (".safetensors", ".json")
SAFETENSORS = "safetensors and JSON"
HARMLESS = ("skops", SAFETENSORS)
EXECUTABLE = {
    b"\x7fELF": "a program or library (ELF)",
    b"MZ": "a Windows program",
    b"\xcf\xfa\xed\xfe": "a macOS program",
    b"#!": "a script",
}
_OLD_PICKLE = re.compile(rb"[(\x5d\x7d]*c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n")
COMPRESSED = (
    b"\x1f\x8b",
    b"x\x01",
    b"x^",
    b"x\x9c",
    b"x\xda",
    b"BZh",
    b"\xfd7zXZ",
    b"]\x00\x00",
    b"\x04\x22M\x18",
    b"(\xb5/\xfd",
)
"""gzip, zlib at its four levels, bzip2, xz, lzma, lz4, zstd."""


class Content(NamedTuple):
    """One file: what it is, whether it carries code, and what is wrong with it (empty if nothing)."""

    name: str
    kind: str
    code: bool
    fault: str


class Graph(NamedTuple):
    """One ONNX graph: operators by domain, and the places of data outside of its file."""

    domains: dict[str, int]
    outside: tuple[str, ...]


def content_of(name: str, path: Path) -> Content:
    """What one file is."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    for magic, kind in EXECUTABLE.items():
        if head.startswith(magic):
            return Content(name, kind, True, "a package holds models, never programs")
    if head.startswith(HEAD_OF_NUMBERS):
        return Content(name, "a graph's numbers", False, "")
    if head.startswith(b"PK\x03\x04"):
        return _archive(name, path)
    if kind := _pickle_kind(head):
        return Content(name, kind, True, "")
    if path.suffix == ".onnx":
        return Content(name, "onnx", False, "" if graph_of(path) else "it is named .onnx and is no ONNX graph")
    return _text(name, head, path)


def graph_of(path: Path) -> Graph | None:
    """The operators of an ONNX file, those of its functions and inner graphs included; None where it is none."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError):
        return None
    if not model.graph.node and not model.opset_import:
        return None
    domains: dict[str, int] = {}
    for node in _nodes(model):
        # The empty name and ai.onnx are the same domain.
        domain = node.domain or "ai.onnx"
        domains[domain] = domains.get(domain, 0) + 1
    own = {function.domain for function in model.functions}
    outside = [
        entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"
    ]
    return Graph({name: count for name, count in domains.items() if name not in own}, tuple(outside))


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node, however deep."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                waiting.extend(inner.node)


def _pickle_kind(head: bytes) -> str:
    """What of a pickle it is; empty for none."""
    # joblib compresses pickles; what it holds cannot be told without unpacking it.
    if head.startswith(COMPRESSED):
        return "compressed, taken as pickle"
    return "pickle" if _is_pickle(head) else ""


def _is_pickle(head: bytes) -> bool:
    """Protocol 2 and up announce themselves; 0 and 1 name a module and an attribute in their first lines."""
    return (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or bool(_OLD_PICKLE.match(head))


def _archive(name: str, path: Path) -> Content:
    """Zip files: skops, torch and keras have one each of their own marks."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return Content(name, "a broken zip file", False, "it cannot be opened")
    if any(one.startswith("/") or ".." in one.split("/") for one in names):
        return Content(name, "a zip file", True, "a name in it points outside")
    kind = _archive_kind(names)
    return Content(name, kind, kind not in HARMLESS, "")


def _archive_kind(names: list[str]) -> str:
    """What a zip of these names is."""
    if any(one.endswith(".safetensors") for one in names) and all(one.endswith(NUMBERS_ALONE) for one in names):
        return SAFETENSORS
    if "schema.json" in names:
        return "skops"
    if any(one.endswith("data.pkl") for one in names):
        return "torch"
    return "keras" if "config.json" in names and "metadata.json" in names else "a zip file"


def _text(name: str, head: bytes, path: Path) -> Content:
    """JSON, a booster's own form, a plain list; anything else is unknown."""
    if head[:1] == b"{" and head[1:2] in (b"i", b"I", b"l", b"L", b"U"):
        return Content(name, "booster (UBJSON)", False, "")
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        return Content(name, "unknown", False, "")
    if path.suffix == ".json":
        return Content(name, "json", False, "" if _is_json(path) else "it is named .json and is none")
    if path.suffix == ".py":
        return Content(name, "Python", True, "")
    return Content(name, "booster (text)" if text.startswith("tree\n") else "text", False, "")


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True
