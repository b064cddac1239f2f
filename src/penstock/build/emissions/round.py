"""Round predicted numbers in a graph; see `penstock.runtime.transforms.round`."""

from __future__ import annotations

from penstock.build.emission import Tensors
from penstock.build.graphs.writer import GraphWriter, Tensor
from penstock.runtime.transforms.round import RoundStep


class RoundEmission:
    """ONNX rounds halves to the even one, too."""

    def emit(self, step: RoundStep, graph: GraphWriter, answers: Tensors) -> Tensors:
        """Another prediction."""
        given, whole = answers["prediction"], graph.number(10.0**step.digits)
        large = graph.add("Mul", graph.cast(given, "FP64"), whole)
        plain = Tensor(graph.add("Div", graph.add("Round", large), whole), "FP64")
        return {**answers, "prediction": Tensor(graph.cast(plain, given.datatype), given.datatype)}
