"""What lies on disk of an ONNX graph: its file, and the files beside it that hold its numbers.

    FILE.onnx, FOLDER with one, Triton's folder of a version -> `GraphFiles`: a folder and plain names below it

Nothing is parsed here: the bytes are searched for what may be a place of data, and such a file comes along if it is a
plain one beside the graph. What the graph really says is read in the sandbox, from the archive of these files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from penstock.build.triton.repository import TritonModel
from penstock.errors import InvalidInput, NotFound, PenstockError
from penstock.packages.tree import open_file

MAX_LOCATIONS = 1000
GRAPH_SUFFIX = ".onnx"
_WINDOW_BYTES = 4 << 20
_LONGEST_BYTES = 4096
"""More than a name of a file and what stands before it."""

# A StringStringEntryProto whose key is "location": key and value with their field numbers and lengths.
_LOCATION = re.compile(rb"\x0a\x08location\x12(?:([\x01-\x7f])|([\x80-\xff])([\x01-\x0f]))")


class GraphFiles(NamedTuple):
    """A graph and what belongs to it.

    Attributes:
        folder: That the names are relative to.
        names: The graph's file first.
    """

    folder: Path
    names: tuple[str, ...]


def find_graph(place: Path) -> GraphFiles | None:
    """A graph that is more than one file; None of anything else.

    Args:
        place: A file, or a folder that has one graph.

    Raises:
        InvalidInput: The graph's data are in too many files.
    """
    if place.is_dir():
        graphs = [one for one in sorted(place.glob(f"*{GRAPH_SUFFIX}")) if one.is_file()]
        return GraphFiles(place, (graphs[0].name, *names_beside(graphs[0]))) if len(graphs) == 1 else None
    names = names_beside(place) if place.is_file() else ()
    return GraphFiles(place.parent, (place.name, *names)) if names else None


def triton_graph(model: TritonModel) -> GraphFiles:
    """The graph of a version.

    Raises:
        NotFound: The version's file is a folder without the graph.
    """
    graph = f"{model.version}/{model.file}"
    if (model.folder / graph).is_dir():
        graph = f"{graph}/model{GRAPH_SUFFIX}"
    if not (model.folder / graph).is_file():
        raise NotFound("the version has no graph", f"put it into {model.version}/{model.file}", code="build.no_model")
    where = graph.rpartition("/")[0]
    beside = tuple(f"{where}/{name}" for name in names_beside(model.folder / graph))
    return GraphFiles(model.folder, (graph, *beside))


def names_beside(graph: Path) -> tuple[str, ...]:
    """Plain files beside a graph whose names it holds as places of data; the sandbox sees what it really says."""
    with graph.open("rb") as file:
        start = file.read(2)
    if len(start) < 2 or start[0] != 0x08 or start[1] > 0x20:
        return ()  # no graph of ONNX, whose version comes first
    found: dict[str, None] = {}
    for name in _locations(graph):
        if name not in found and _lies_beside(graph.parent, name):
            found[name] = None
        if len(found) > MAX_LOCATIONS:
            raise InvalidInput(f"the graph's data are in more than {MAX_LOCATIONS} files", "put them into one")
    return tuple(found)


def _locations(graph: Path) -> Iterator[str]:
    """What may be a place of data, from a window that moves along the file: it may be as large as all memory."""
    kept = b""
    with graph.open("rb") as file:
        while chunk := file.read(_WINDOW_BYTES):
            window = kept + chunk
            for match in _LOCATION.finditer(window):
                short, low, high = match.groups()
                length = short[0] if short else (low[0] & 0x7F) | high[0] << 7
                yield window[match.end() : match.end() + length].decode(errors="replace").removeprefix("./")
            kept = window[-_LONGEST_BYTES:]


def _lies_beside(folder: Path, name: str) -> bool:
    """Whether there is a plain file of a plain name."""
    try:
        with open_file(folder, name):
            return True
    except PenstockError:
        return False
