"""Fill missing values in, in a graph; see `penstock.runtime.transforms.impute`."""

from __future__ import annotations

import numpy as np

from penstock.build.emission import ColumnNames
from penstock.build.graphs.writer import GraphWriter, constant_row, spread
from penstock.runtime.transforms.impute import ImputeStep


class ImputeEmission:
    """IsNaN and Where for numbers; empty texts are found as a label."""

    def emit(self, step: ImputeStep, graph: GraphWriter, columns: ColumnNames) -> ColumnNames:
        """Numbers together, texts together."""
        done = dict(columns)
        texts = [name for name in step.columns if columns[name].matrix.datatype == "BYTES"]
        numbers = [name for name in step.columns if name not in texts]
        for names, datatype in ((numbers, "FP64"), (texts, "BYTES")):
            if not names:
                continue
            matrix = graph.matrix([columns[name] for name in names], datatype)
            values = graph.constant(constant_row([step.learned[name] for name in names]))
            if datatype == "FP64":
                matrix = graph.choose(graph.add("IsNaN", matrix), values, matrix)
            else:
                there = graph.add("Less", graph.places(matrix, [""]), graph.constant(np.array(0, dtype=np.int64)))
                matrix = graph.choose(there, matrix, values)
            done |= spread(matrix, datatype, names)
        return done
