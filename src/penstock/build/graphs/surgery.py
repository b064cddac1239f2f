"""Surgery on ONNX graphs, so that a converted model computes in the precision in which the original did.

What comes in: a graph as a converter wrote it. What goes out: the same graph with the package's output names,
double-precision imputation and tree thresholds, and casts where ONNX's tree operators only know float. Every
function changes the graph it is given and returns nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from penstock.tensors import TensorSpec

Floats = npt.NDArray[np.float64]

TYPES = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def name_inputs(graph: GraphProto, inputs: Sequence[TensorSpec]) -> None:
    """Declare exactly the signature's inputs, in its order; one that no node reads is declared all the same."""
    del graph.input[:]
    for spec in inputs:
        shape = [None if size == -1 else size for size in spec.shape]
        graph.input.append(helper.make_tensor_value_info(spec.name, TYPES[spec.datatype], shape))


def cast_inputs(graph: GraphProto, given: Sequence[TensorSpec], read: Sequence[TensorSpec]) -> None:
    """Let a graph that reads some inputs in other types be fed in the types of the signature.

    Args:
        graph: Reads `read`.
        given: The signature's inputs.
        read: The same inputs, by the same names, in the types in which the graph reads them.
    """
    changed = {spec.name: TYPES[wanted.datatype] for spec, wanted in zip(given, read, strict=True) if spec != wanted}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in changed:
                node.input[place] = f"{name}_cast"
    insert(graph, 0, [_cast(name, f"{name}_cast", element) for name, element in changed.items()])
    name_inputs(graph, given)


def join_columns(graph: GraphProto, inputs: Sequence[TensorSpec], matrix: str, element: int) -> None:
    """Feed the matrix that a graph reads from one input per column; texts that are no column become one."""
    if [len(spec.shape) for spec in inputs] == [1]:
        column = f"{matrix}_column"
        graph.initializer.append(numpy_helper.from_array(np.array([-1, 1], dtype=np.int64), column))
        insert(graph, 0, [helper.make_node("Reshape", [inputs[0].name, column], [matrix])])
        name_inputs(graph, inputs)
        return
    nodes = [_cast(spec.name, f"{matrix}_{at}", element) for at, spec in enumerate(inputs)]
    joined = helper.make_node("Concat", [node.output[0] for node in nodes], [matrix], axis=1)
    insert(graph, 0, [*nodes, joined])
    name_inputs(graph, inputs)


def name_outputs(graph: GraphProto, outputs: Sequence[TensorSpec]) -> None:
    """Give the first outputs the package's names, types and ranks; others are dropped."""
    given = [output.name for output in graph.output]
    _free(graph, {spec.name for spec in outputs})
    renamed = [name if name not in {spec.name for spec in outputs} else f"{name}_of_model" for name in given]
    del graph.output[:]
    for name, spec in zip(renamed, outputs, strict=False):
        if len(spec.shape) == 1:
            shape = f"{spec.name}_rows"
            graph.initializer.append(numpy_helper.from_array(np.array([-1], dtype=np.int64), shape))
            graph.node.append(helper.make_node("Reshape", [name, shape], [f"{spec.name}_flat"]))
            name = f"{spec.name}_flat"  # noqa: PLW2901
        element = TYPES[spec.datatype]
        graph.node.append(_cast(name, spec.name, element))
        dimensions = [None if size == -1 else size for size in spec.shape]
        graph.output.append(helper.make_tensor_value_info(spec.name, element, dimensions))


def impute_in_double(graph: GraphProto, statistics: Sequence[Floats]) -> None:
    """Replace the Imputer operator, which ONNX Runtime has for floats only, by IsNaN and Where.

    Args:
        graph: Its imputed values are narrow.
        statistics: What the fitted imputers fill in, at full width.
    """
    for at in reversed(range(len(graph.node))):
        node = graph.node[at]
        narrow = floats(node, "imputed_value_floats") if node.op_type == "Imputer" else None
        if narrow is None or not np.isnan(floats(node, "replaced_value_float")[0]):
            continue
        exact = next((one for one in statistics if _same(one, narrow)), narrow.astype(np.float64))
        name = f"{node.output[0]}_fill"
        graph.initializer.append(numpy_helper.from_array(exact.reshape(1, -1), name))
        missing = helper.make_node("IsNaN", [node.input[0]], [f"{name}_where"])
        chosen = helper.make_node("Where", [f"{name}_where", name, node.input[0]], [node.output[0]])
        del graph.node[at]
        insert(graph, at, [missing, chosen])


def all_nodes(model: ModelProto) -> list[NodeProto]:
    """Every node, those of loops, branches and functions among them."""
    bodies = [model.graph, *_subgraphs(model.graph)]
    return [node for body in bodies for node in body.node] + [node for one in model.functions for node in one.node]


def _subgraphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Bodies of loops and branches, all the way down."""
    for node in graph.node:
        for one in node.attribute:
            for body in (*one.graphs, *([one.g] if one.HasField("g") else ())):
                yield body
                yield from _subgraphs(body)


def deduplicate_opsets(model: ModelProto) -> None:
    """One line a domain, the newest."""
    newest: dict[str, int] = {}
    for one in model.opset_import:
        newest[one.domain] = max(newest.get(one.domain, 0), one.version)
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in newest.items())


def _cast(given: str, result: str, element: int) -> NodeProto:
    """A cast; text stays text."""
    if element == TensorProto.STRING:
        return helper.make_node("Identity", [given], [result])
    return helper.make_node("Cast", [given], [result], to=element)


def _free(graph: GraphProto, names: set[str]) -> None:
    """Rename whatever inside the graph already has one of these names."""
    for node in graph.node:
        for ends in (node.input, node.output):
            for at, name in enumerate(ends):
                if name in names:
                    ends[at] = f"{name}_of_model"


def insert(graph: GraphProto, at: int, nodes: Sequence[NodeProto]) -> None:
    """Nodes at a place: the order of nodes is the order of work."""
    for offset, node in enumerate(nodes):
        graph.node.insert(at + offset, node)


def _same(exact: Floats, narrow: npt.NDArray[np.float32]) -> bool:
    """Whether these doubles were rounded to those floats."""
    return exact.shape == narrow.shape and bool(np.array_equal(exact.astype(np.float32), narrow, equal_nan=True))


def attribute(node: NodeProto, name: str) -> AttributeProto:
    """One attribute, empty where there is none."""
    return next((one for one in node.attribute if one.name == name), AttributeProto())


def floats(node: NodeProto, name: str) -> npt.NDArray[np.float32]:
    """The numbers of an attribute."""
    one = attribute(node, name)
    return np.array(one.floats if one.floats else [one.f], dtype=np.float32)
