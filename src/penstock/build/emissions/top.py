"""The best labels of each row in a graph; see `penstock.runtime.transforms.top`."""

from __future__ import annotations

from penstock.build.emission import Tensors
from penstock.build.graphs.chances import ranked
from penstock.build.graphs.writer import GraphWriter, Tensor
from penstock.runtime.transform import label_array
from penstock.runtime.transforms.top import LABELS, PROBABILITIES, TopStep


class TopEmission:
    """TopK, which puts the first of equal ones first."""

    def emit(self, step: TopStep, graph: GraphWriter, answers: Tensors) -> Tensors:
        """Two more answers."""
        chances = graph.cast(answers["probabilities"], "FP64")
        _, codes = graph.several("TopK", ranked(graph, chances), graph.whole(step.best), outputs=2, axis=1)
        best = graph.add("Cast", graph.add("GatherElements", chances, codes, axis=1), to=1)
        return {**answers, LABELS: graph.labels(codes, label_array(step.learned)), PROBABILITIES: Tensor(best, "FP32")}
