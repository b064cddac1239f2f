"""ONNX files: graphs that somebody else compiled; there is no original to compare them with but themselves.

A graph whose numbers lie in files beside it comes as an archive of all of them, perhaps with what Triton's
configuration says of it. What leaves is one graph; the numbers of a large one lie beside it, in files of our own.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from io import BufferedReader, RawIOBase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast
from zipfile import BadZipFile, ZipFile

from onnx import ModelProto

from penstock.build.format import Audit, Original, head
from penstock.build.graphs.apart import APART_BYTES, NumbersPlace, Skeleton, read_skeleton, settle
from penstock.build.graphs.carried import carried
from penstock.build.graphs.externals import forget, is_outside, locations, outside_places, take_in, tensors_in
from penstock.build.graphs.model import OnnxModel
from penstock.build.pickles.audit import shown
from penstock.build.triton.graph import turned_outward
from penstock.errors import InvalidInput, Untrusted
from penstock.packages.archive import ZIP, unpack
from penstock.packages.manifest import is_numbers
from penstock.packages.tree import read_bytes
from penstock.runtime.outerform import OUTER, read_outer

MAX_MEMBERS = 1002
MAX_OUTER_BYTES = 64 << 20
_SPARE_BYTES = 256 << 20
"""Of address space, for what a graph takes beside its numbers."""


class OnnxFormat:
    """A serialised `ModelProto`, alone or in an archive with its data."""

    suffixes = (".onnx",)

    def __init__(self, *, apart_bytes: int = APART_BYTES) -> None:
        self._apart_bytes = apart_bytes

    def sniff(self, path: Path) -> str:
        """The IR version comes first (field 1), and the whole parses as a model with a graph."""
        start = head(path)
        if start.startswith(ZIP):
            return self.suffixes[0] if _graph_member(path) else ""
        with path.open("rb") as file:
            return self.suffixes[0] if read_skeleton(file) is not None else ""

    def audit(self, path: Path) -> Audit:
        """Operator domains and files outside of the graph; only ONNX's own operators carry no code."""
        model = _graph(path)
        names = tuple(sorted({shown(one.domain) or "ai.onnx" for one in model.opset_import}))
        return Audit(names=names, refused=tuple(map(shown, carried(model))))

    def open(self, path: Path) -> Original:
        """The graph; numbers that are set apart lie in the working folder."""
        model, outer = _read(path, self._apart_bytes)
        if not outer:
            return OnnxModel(model)
        # Whoever asked Triton for it goes on asking by these names.
        form = read_outer(outer)
        model = turned_outward(model, form)
        return OnnxModel(model, keep=tuple(one.name for one in model.graph.output), classes=form.classes)


def _graph(path: Path) -> ModelProto:
    """A graph without its large numbers, and without saying where they are, if they may be there.

    Raises:
        Untrusted: It keeps numbers in files that are neither of its archive nor our own.
    """
    member = _graph_member(path) if head(path).startswith(ZIP) else ""
    if member:
        with ZipFile(path) as archive, _buffered(archive, member) as file:
            model = _skeleton(file).model
        for one in tensors_in(model):
            forget(one)  # what lies in the archive is looked at when it is opened
        return model
    with path.open("rb") as file:
        model = _skeleton(file).model
    if any(is_outside(one) for one in model.graph.initializer) and any(map(is_numbers, os.listdir(path.parent))):
        places = outside_places(model, path.parent)
        if not all(is_numbers(place.file.name) for place in places.values()):
            raise _elsewhere()
    if any(is_outside(one) for one in tensors_in(model)):
        raise _elsewhere()
    return model


def _read(path: Path, apart_bytes: int) -> tuple[ModelProto, bytes]:
    """A graph with all its numbers, inside of it or in the working folder, and how its clients know it.

    Raises:
        Untrusted: The archive, or what the graph says of its data, is not what it should be.
        InvalidInput: It would be larger than one graph can be.
    """
    member = _graph_member(path) if head(path).startswith(ZIP) else ""
    if not member:
        with path.open("rb") as file:
            model, places = _skeleton(file)
        if any(is_outside(one) for one in tensors_in(model)):
            raise _elsewhere()
        inner = {at: NumbersPlace(path, *place) for at, place in places.items()}
        _require_room(inner, apart_bytes)
        settle(model, inner, Path.cwd(), apart_bytes=apart_bytes)
        return model, b""
    with TemporaryDirectory(prefix="graph-") as place:
        folder = unpack(path, Path(place) / "original")
        graph = folder / member
        with graph.open("rb") as file:
            model, inside = _skeleton(file)
        outside = outside_places(model, graph.parent)
        take_in(model, graph.parent)
        both = {at: NumbersPlace(graph, *one) for at, one in inside.items()} | outside
        _require_room(both, apart_bytes)
        settle(model, both, Path.cwd(), apart_bytes=apart_bytes)
        there = (folder / OUTER).exists()
        return model, read_bytes(folder, OUTER, limit=MAX_OUTER_BYTES) if there else b""


def _require_room(places: Mapping[int, NumbersPlace], apart_bytes: int) -> None:
    """Refuse numbers that cannot be mapped here: ONNX Runtime maps each twice while it opens a graph.

    Raises:
        InvalidInput: This process's address space ends before that.
    """
    numbers = sum(place.length for place in places.values())
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if numbers < apart_bytes or most == resource.RLIM_INFINITY:
        return
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    room = (most - taken - _SPARE_BYTES) // 2
    if numbers > room:
        raise InvalidInput(
            f"the graph's numbers are {numbers >> 20} MiB, and the sandbox can map {max(room, 0) >> 20} MiB of them",
            "export them smaller (FP16), or the model in parts",
            code="build.too_large",
        )


def _skeleton(file: IO[bytes]) -> Skeleton:
    found = read_skeleton(file)
    if found is None:
        raise Untrusted("the graph's file is damaged, or no ONNX", "export it again", code="build.no_graph")
    return found


def _elsewhere() -> Untrusted:
    return Untrusted(
        "the graph's numbers lie in files that it may not name, or that are not beside it",
        "put them beside it, no links, and package its folder",
        code="build.external_data",
    )


def _buffered(archive: ZipFile, name: str) -> IO[bytes]:
    """A member that is read number by number."""
    return cast("IO[bytes]", BufferedReader(cast("RawIOBase", archive.open(name))))


def _graph_member(path: Path) -> str:
    """The member that is a graph, if the archive holds nothing else but what it names; else empty."""
    try:
        with ZipFile(path) as archive:
            members = frozenset(archive.namelist()) - {OUTER}
            for name in sorted(members if len(members) <= MAX_MEMBERS else ()):
                with _buffered(archive, name) as file:
                    found = read_skeleton(file)
                where = name.rpartition("/")[0]
                said = frozenset() if found is None else locations(found.model)
                if found is not None and members - {name} <= {f"{where}/{one}".lstrip("/") for one in said}:
                    return name
    except (BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError):
        pass
    return ""
