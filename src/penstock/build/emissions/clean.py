"""Clean values in a graph; see `penstock.runtime.transforms.clean`."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, TensorProto, helper

from penstock.build.emission import ColumnNames
from penstock.build.graphs.surgery import TYPES
from penstock.build.graphs.writer import GraphWriter, spread
from penstock.runtime.transforms.clean import CleanStep


class CleanEmission:
    """Comparisons of numbers; of texts ONNX's operators from opset 20 on."""

    def emit(self, step: CleanStep, graph: GraphWriter, columns: ColumnNames) -> ColumnNames:
        """Numbers together, texts together."""
        texts = [name for name in step.columns if columns[name].matrix.datatype == "BYTES"]
        numbers = [name for name in step.columns if name not in texts]
        done = dict(columns)
        if numbers:
            matrix = _numbers(step, graph, graph.matrix([columns[name] for name in numbers], "FP64"))
            done |= spread(matrix, "FP64", numbers)
        if texts:
            matrix = _texts(step, graph, graph.matrix([columns[name] for name in texts], "BYTES"), len(texts))
            done |= spread(matrix, "BYTES", texts)
        return done


def _numbers(step: CleanStep, graph: GraphWriter, found: str) -> str:
    """NaN for none."""
    none = graph.number(np.nan)
    for value in step.missing:
        found = graph.choose(graph.add("Equal", found, graph.number(float(value))), none, found)
    for operator, end in (("Less", step.low), ("Greater", step.high)):
        if end is not None:
            outside = graph.add(operator, found, graph.number(end))
            found = graph.choose(outside, graph.number(end) if step.clip else none, found)
    return found


def _texts(step: CleanStep, graph: GraphWriter, found: str, width: int) -> str:
    """An empty text for none."""
    if step.case == "casefold":
        raise NotImplementedError("ONNX has no operator that makes the letters of all scripts small")
    if step.trim or step.case:
        flat = graph.add("Reshape", found, graph.whole(-1))
        if step.trim:
            flat = _trimmed(graph, flat)
        if step.case:
            # Any other locale may be one that the machine does not have; this one knows A to Z alone.
            flat = graph.add("StringNormalizer", flat, case_change_action="LOWER", is_case_sensitive=1, locale="C")
        found = graph.add("Reshape", flat, graph.whole(-1, width))
    if step.missing:
        at = graph.places(found, [str(one) for one in step.missing])
        there = graph.add("Less", at, graph.constant(np.array(0, dtype=np.int64)))
        found = graph.choose(there, found, graph.constant(np.array("", dtype=object)))
    return found


def _trimmed(graph: GraphWriter, flat: str) -> str:
    """Words between spaces, joined by one space each: word after word in a loop, since rows have different numbers."""
    graph.opset = max(graph.opset, 20)
    words, counts = graph.several("StringSplit", flat, outputs=2)
    most = graph.add("Gather", graph.add("Shape", words), graph.constant(np.array(1, dtype=np.int64)))
    nothing = graph.constant(np.array("", dtype=object))
    start = graph.add("Expand", nothing, graph.add("Shape", flat))
    body = _next_word(words, counts, nothing, graph.constant(np.array(" ", dtype=object)))
    return graph.add("Loop", most, "", start, body=body)


def _next_word(words: str, counts: str, nothing: str, space: str) -> GraphProto:
    """One turn: what was joined so far, a space, and the row's next word where it has one."""
    names = {name: f"{words}_{name}" for name in ("turn", "go", "sofar", "on", "joined")}
    inner = GraphWriter(f"{words}_loop_")
    zero = inner.constant(np.array(0, dtype=np.int64))
    between = inner.choose(inner.add("Equal", names["turn"], zero), nothing, space)
    longer = inner.add("StringConcat", inner.add("StringConcat", names["sofar"], between), _word(inner, words, names))
    there = inner.add("Less", names["turn"], counts)
    inner.nodes.append(helper.make_node("Where", [there, longer, names["sofar"]], [names["joined"]]))
    inner.nodes.append(helper.make_node("Identity", [names["go"]], [names["on"]]))
    value = helper.make_tensor_value_info
    given = [
        value(names["turn"], TensorProto.INT64, []),
        value(names["go"], TensorProto.BOOL, []),
        value(names["sofar"], TYPES["BYTES"], [None]),
    ]
    left = [value(names["on"], TensorProto.BOOL, []), value(names["joined"], TYPES["BYTES"], [None])]
    return helper.make_graph(inner.nodes, "next_word", given, left, inner.constants)


def _word(inner: GraphWriter, words: str, names: dict[str, str]) -> str:
    """The word of this turn, of each row."""
    return inner.add("Gather", words, names["turn"], axis=1)
