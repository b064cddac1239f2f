"""ONNX files: graphs that somebody else compiled; there is no original to compare them with but themselves.

A graph whose numbers lie in files beside it comes as an archive of all of them, perhaps with Triton's configuration,
and leaves as one graph.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from zipfile import BadZipFile, ZipFile

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto

from penstock.build.format import Audit, Original, head
from penstock.build.graphs.carried import carried
from penstock.build.graphs.externals import is_outside, locations, take_in, tensors_in
from penstock.build.graphs.model import OnnxModel
from penstock.build.pickles.audit import shown
from penstock.build.triton.graph import hold_to
from penstock.build.triton.pbtxt import MAX_TEXT_BYTES
from penstock.build.triton.repository import CONFIG, parse_triton
from penstock.errors import Untrusted
from penstock.packages.archive import unpack
from penstock.packages.tree import read_bytes

MAX_MEMBERS = 1002


class OnnxFormat:
    """A serialised `ModelProto`, alone or in an archive with its data."""

    suffixes = (".onnx",)

    def sniff(self, path: Path) -> str:
        """The IR version comes first (field 1), and the whole parses as a model with a graph."""
        start = head(path)
        if start.startswith(b"PK\x03\x04"):
            return self.suffixes[0] if _graph_member(path) else ""
        with path.open("rb") as file:
            return self.suffixes[0] if _parsed(file) is not None else ""

    def audit(self, path: Path) -> Audit:
        """Operator domains and files outside of the graph; only ONNX's own operators carry no code."""
        model = _read(path)[0]
        names = tuple(sorted({shown(one.domain) or "ai.onnx" for one in model.opset_import}))
        return Audit(names=names, refused=tuple(map(shown, carried(model))))

    def open(self, path: Path) -> Original:
        """The graph."""
        model, config = _read(path)
        if not config:
            return OnnxModel(model)
        # Whoever asked Triton for it goes on asking by these names.
        return OnnxModel(model, keep=hold_to(model, parse_triton(config)))


def _read(path: Path) -> tuple[ModelProto, bytes]:
    """A graph with all its numbers inside, and Triton's configuration; empty without.

    Raises:
        Untrusted: The archive, or what the graph says of its data, is not what it should be.
        InvalidInput: It would be larger than one graph can be.
    """
    member = _graph_member(path) if head(path).startswith(b"PK\x03\x04") else ""
    if not member:
        model = onnx.load_model(path, load_external_data=False)
        if any(is_outside(one) for one in tensors_in(model)):
            raise Untrusted(
                "the graph's numbers lie in files that it may not name, or that are not beside it",
                "put them beside it, no links, and package its folder",
                code="build.external_data",
            )
        return model, b""
    with TemporaryDirectory(prefix="graph-") as place:
        folder = unpack(path, Path(place) / "original")
        file = folder / member
        model = onnx.load_model(file, load_external_data=False)
        take_in(model, file.parent)
        there = (folder / CONFIG).exists()
        return model, read_bytes(folder, CONFIG, limit=MAX_TEXT_BYTES) if there else b""


def _graph_member(path: Path) -> str:
    """The member that is a graph, if the archive holds nothing else but what it names; else empty."""
    try:
        with ZipFile(path) as archive:
            members = frozenset(archive.namelist()) - {CONFIG}
            for name in sorted(members if len(members) <= MAX_MEMBERS else ()):
                with archive.open(name) as file:
                    model = _parsed(file)
                where = name.rpartition("/")[0]
                if model is not None and members - {name} <= {f"{where}/{one}".lstrip("/") for one in locations(model)}:
                    return name
    except (BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError):
        pass
    return ""


def _parsed(file: IO[bytes]) -> ModelProto | None:
    """The model that a file is; None where it is none."""
    start = file.read(16)
    if len(start) < 16 or start[0] != 0x08 or start[1] > 0x20:
        return None
    try:
        model = ModelProto.FromString(start + file.read())
    except (DecodeError, MemoryError):
        return None
    return model if model.graph.node and model.opset_import else None
