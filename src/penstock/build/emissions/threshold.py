"""Decide by a threshold in a graph; see `penstock.runtime.transforms.threshold`."""

from __future__ import annotations

import numpy as np

from penstock.build.emission import Tensors
from penstock.build.graphs.chances import column_of, ranked
from penstock.build.graphs.writer import GraphWriter
from penstock.runtime.transform import MILLION, label_array
from penstock.runtime.transforms.threshold import ThresholdStep


class ThresholdEmission:
    """One comparison, and the largest of the others."""

    def emit(self, step: ThresholdStep, graph: GraphWriter, answers: Tensors) -> Tensors:
        """Another label."""
        chances = ranked(graph, graph.cast(answers["probabilities"], "FP64"))
        own = graph.add("Squeeze", column_of(graph, chances, step.place), graph.whole(1))
        least = graph.number(float(np.rint(step.at * MILLION)))
        below = graph.add("Less", own, least)
        this = np.arange(len(step.learned)) == step.place
        others = graph.choose(graph.constant(this[None, :]), graph.number(-1.0), chances)
        best = graph.add("ArgMax", others, axis=1, keepdims=0)
        codes = graph.choose(below, best, graph.constant(np.array(step.place, dtype=np.int64)))
        return {**answers, "label": graph.labels(codes, label_array(step.learned))}
