"""Calibrate probabilities in a graph; see `penstock.runtime.transforms.calibrate`."""

from __future__ import annotations

import numpy as np

from penstock.build.emission import Tensors
from penstock.build.graphs.chances import column_of, ranked
from penstock.build.graphs.writer import GraphWriter, Tensor
from penstock.runtime.transform import label_array
from penstock.runtime.transforms.calibrate import LEAST, STEPS, CalibrateStep


class CalibrateEmission:
    """Curves in double precision."""

    def emit(self, step: CalibrateStep, graph: GraphWriter, answers: Tensors) -> Tensors:
        """Other probabilities, and the label of the most probable class."""
        given = graph.cast(answers["probabilities"], "FP64")
        if len(step.classes) == 2:
            second = _curve(step, step.learned[0], graph, column_of(graph, given, 1))
            chances = graph.add("Concat", graph.add("Sub", graph.number(1.0), second), second, axis=1)
        else:
            parts = [_curve(step, curve, graph, column_of(graph, given, at)) for at, curve in enumerate(step.learned)]
            chances = _shares(graph, graph.add("Concat", *parts, axis=1), len(parts))
        codes = graph.add("ArgMax", ranked(graph, chances), axis=1, keepdims=0)
        label = graph.labels(codes, label_array(step.classes))
        return {**answers, "label": label, "probabilities": Tensor(chances, "FP64")}


def _curve(step: CalibrateStep, curve: tuple[float, ...], graph: GraphWriter, chances: str) -> str:
    """What comes true, ``(rows, 1)``."""
    one = graph.number(1.0)
    if step.method == "sigmoid":
        held = _held(graph, chances, LEAST, 1.0 - LEAST)
        odds = graph.add("Sub", graph.add("Log", held), graph.add("Log", graph.add("Sub", one, held)))
        line = graph.add("Add", graph.add("Mul", odds, graph.number(curve[0])), graph.number(curve[1]))
        return graph.add("Div", one, graph.add("Add", one, graph.add("Exp", graph.add("Neg", line))))
    at = graph.add("Mul", _held(graph, chances, 0.0, 1.0), graph.number(float(STEPS)))
    low = graph.add("Floor", at)
    last = graph.number(STEPS - 1.0)
    low = graph.choose(graph.add("Greater", low, last), last, low)
    place = graph.add("Cast", low, to=7)
    heights = np.array(curve, dtype=np.float64)
    height = graph.add("Gather", graph.constant(heights[:-1]), place)
    rise = graph.add("Gather", graph.constant(np.diff(heights)), place)
    return graph.add("Add", height, graph.add("Mul", graph.add("Sub", at, low), rise))


def _held(graph: GraphWriter, values: str, low: float, high: float) -> str:
    """Numbers in a range."""
    for operator, end in (("Less", low), ("Greater", high)):
        name = graph.number(end)
        values = graph.choose(graph.add(operator, values, name), name, values)
    return values


def _shares(graph: GraphWriter, table: str, width: int) -> str:
    """Rows that add to 1."""
    whole = graph.add("ReduceSum", table, graph.whole(1), keepdims=1)
    some = graph.add("Greater", whole, graph.number(0.0))
    shares = graph.add("Div", table, graph.choose(some, whole, graph.number(1.0)))
    return graph.choose(some, shares, graph.number(1.0 / width))
