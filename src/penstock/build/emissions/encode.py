"""Encode categories in a graph; see `penstock.runtime.transforms.encode`."""

from __future__ import annotations

import numpy as np

from penstock.build.emission import ColumnNames
from penstock.build.graphs.writer import Column, GraphWriter, constant_row, spread
from penstock.runtime.transforms.encode import EncodeStep


class EncodeEmission:
    """A look-up of texts, a comparison of numbers; then a comparison with all places."""

    def emit(self, step: EncodeStep, graph: GraphWriter, columns: ColumnNames) -> ColumnNames:
        """Column by column: each has categories of its own."""
        done: ColumnNames = {}
        for name, column in columns.items():
            if name not in step.columns:
                done[name] = column
            elif step.way == "ordinal":
                done |= spread(_ordinal(step, graph, name, column), "INT64", [name])
            else:
                hot = graph.add("Cast", _equal(step, graph, name, column), to=11)
                done |= spread(hot, "FP64", step.names(name))
        return done


def _equal(step: EncodeStep, graph: GraphWriter, name: str, column: Column) -> str:
    """Which category each row has, ``(rows, categories)``."""
    known = step.learned[name]
    if isinstance(known[0], str):
        codes = graph.places(graph.matrix([column], "BYTES"), [str(one) for one in known])
        return graph.add("Equal", codes, graph.constant(np.arange(len(known), dtype=np.int64)[None, :]))
    return graph.add("Equal", graph.matrix([column], "FP64"), graph.constant(constant_row(known)))


def _ordinal(step: EncodeStep, graph: GraphWriter, name: str, column: Column) -> str:
    """The place of each row's category, ``(rows, 1)``."""
    known = step.learned[name]
    if isinstance(known[0], str):
        return graph.places(graph.matrix([column], "BYTES"), [str(one) for one in known], step.unknown)
    # Each place less the number of the unknown: what is of no category adds nothing to that.
    whole = graph.add("Cast", _equal(step, graph, name, column), to=7)
    less = graph.constant(np.arange(len(known), dtype=np.int64)[None, :] - step.unknown)
    found = graph.add("ReduceSum", graph.add("Mul", whole, less), graph.whole(1), keepdims=1)
    return graph.add("Add", found, graph.constant(np.array(step.unknown, dtype=np.int64)))
