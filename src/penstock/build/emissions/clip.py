"""Hold predicted numbers to a range in a graph; see `penstock.runtime.transforms.clip`."""

from __future__ import annotations

from penstock.build.emission import Tensors
from penstock.build.graphs.writer import GraphWriter, Tensor
from penstock.runtime.transforms.clip import ClipStep


class ClipEmission:
    """Comparisons in double precision."""

    def emit(self, step: ClipStep, graph: GraphWriter, answers: Tensors) -> Tensors:
        """Another prediction."""
        given = answers["prediction"]
        held = graph.cast(given, "FP64")
        for operator, end in (("Less", step.low), ("Greater", step.high)):
            if end is not None:
                name = graph.number(end)
                held = graph.choose(graph.add(operator, held, name), name, held)
        return {**answers, "prediction": Tensor(graph.cast(Tensor(held, "FP64"), given.datatype), given.datatype)}
