"""Scale numbers in a graph; see `penstock.runtime.transforms.scale`."""

from __future__ import annotations

from penstock.build.emission import ColumnNames
from penstock.build.graphs.writer import GraphWriter, constant_row, spread
from penstock.runtime.transforms.scale import ScaleStep


class ScaleEmission:
    """A subtraction and a division in double precision."""

    def emit(self, step: ScaleStep, graph: GraphWriter, columns: ColumnNames) -> ColumnNames:
        """All columns together."""
        matrix = graph.matrix([columns[name] for name in step.columns], "FP64")
        centre = graph.constant(constant_row([step.learned[name][0] for name in step.columns]))
        width = graph.constant(constant_row([step.learned[name][1] for name in step.columns]))
        scaled = graph.add("Div", graph.add("Sub", matrix, centre), width)
        return {**columns, **spread(scaled, "FP64", step.columns)}
