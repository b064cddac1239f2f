"""Constants worked out once, detours removed: what ONNX Runtime does at each load, done for good.

The answers stay as they are. What is gained is size and the time of loading, seldom of running: the runtime does the
same, and fusions of its own besides, whenever it loads a graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from onnx import ModelProto

from penstock.build.compression import ModelForm, copied, folded
from penstock.tensors import Arrays


class GraphOptimization:
    """Portable optimizations, and no notes of the exporter's."""

    name: ClassVar[str] = "graph_optimization"

    def forms(self, model: ModelProto, rows: Arrays) -> Iterator[ModelForm]:
        """One form."""
        del rows
        yield ModelForm("optimized graph", lambda: _without_notes(folded(model)))


def _without_notes(model: ModelProto) -> ModelProto:
    """A copy without what an exporter wrote down for people: names of nodes, shapes in between, traces."""
    bare = copied(model)
    del bare.graph.value_info[:]
    del bare.metadata_props[:]
    bare.doc_string = bare.graph.doc_string = ""
    for node in bare.graph.node:
        del node.metadata_props[:]
        node.name = node.doc_string = ""
    return bare
