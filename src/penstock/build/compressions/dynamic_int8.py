"""Weights as 8-bit integers; each row is rounded with a scale of its own while it is answered.

    MatMul(rows, weights) -> rows / scale of the row -> round -> MatMulInteger -> x scale of the row x of the column

The usual form (DynamicQuantizeLinear) takes one scale for a whole batch: a row would be answered otherwise beside other
rows, and requests of strangers share batches. With a scale a row nothing of the kind happens. Weights keep to 7 bits,
as in `penstock.build.compressions.static_int8`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from penstock.build.compression import OPSET, ModelForm, constants_of, copied, folded, opset_of
from penstock.build.graphs.surgery import attribute
from penstock.tensors import Arrays

MOST = 127
WEIGHT_MOST = 63
MIN_WEIGHTS = 256
AXES_AS_INPUT = 18
"""From this operator set on, ReduceMax takes its axes as an input."""

Floats = npt.NDArray[np.float32]


class DynamicInt8:
    """Products with constant matrices, in integers."""

    name: ClassVar[str] = "dynamic_int8"

    def forms(self, model: ModelProto, rows: Arrays) -> Iterator[ModelForm]:
        """One form.

        Raises:
            NotImplementedError: No product is with a constant matrix, or its operators are too old.
        """
        del rows
        bare = folded(model)
        constants = constants_of(bare)
        if not any(_weights(node, constants) is not None for node in bare.graph.node):
            raise NotImplementedError("no product with a constant matrix")
        if opset_of(bare) < OPSET:
            raise NotImplementedError(f"its operators are older than set {OPSET}")
        yield ModelForm("dynamic int8", lambda: _quantized(bare))


def _quantized(model: ModelProto) -> ModelProto:
    """A copy whose products are of integers; weights that nobody reads any more are gone."""
    copy = copied(model)
    graph, constants = copy.graph, constants_of(copy)
    known = opset_of(copy)
    nodes: list[NodeProto] = []
    for at, node in enumerate(graph.node):
        weights = _weights(node, constants)
        nodes += [node] if weights is None else _product(graph, node, weights, f"int8_{at}", known)
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input} | {one.name for one in graph.output}
    kept = [one for one in graph.initializer if one.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return copy


def _weights(node: NodeProto, constants: dict[str, TensorProto]) -> Floats | None:
    """The matrix ``(in, out)`` of a product; None where it is no product with a constant one."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in constants:
        return None
    if node.op_type == "Gemm" and (
        attribute(node, "transA").i or any(attribute(node, name).f not in (0.0, 1.0) for name in ("alpha", "beta"))
    ):
        return None
    constant = constants[node.input[1]]
    if constant.data_type != TensorProto.FLOAT or len(constant.dims) != 2:
        return None
    found: Floats = numpy_helper.to_array(constant)
    if found.size < MIN_WEIGHTS or not np.isfinite(found).all():
        return None
    return found.T if attribute(node, "transB").i else found


def _product(graph: GraphProto, node: NodeProto, weights: Floats, name: str, known: int) -> list[NodeProto]:
    """The nodes that stand for one product."""
    scales = np.maximum(np.abs(weights).max(axis=0), np.float32(1e-30)) / np.float32(WEIGHT_MOST)
    rounded = np.clip(np.rint(weights / scales), -WEIGHT_MOST, WEIGHT_MOST).astype(np.int8)
    for key, values in {
        "weights": np.ascontiguousarray(rounded),
        "scales": scales.astype(np.float32),
        "most": np.array(MOST, np.float32),
        "least": np.array(1e-30, np.float32),
        "axes": np.array([-1], np.int64),
    }.items():
        graph.initializer.append(numpy_helper.from_array(values, f"{name}_{key}"))

    def one(kind: str, given: list[str], result: str, **attributes: Any) -> NodeProto:
        return helper.make_node(kind, given, [f"{name}_{result}"], **attributes)

    widest = (
        one("ReduceMax", [f"{name}_sizes", f"{name}_axes"], "widest", keepdims=1)
        if known >= AXES_AS_INPUT
        else one("ReduceMax", [f"{name}_sizes"], "widest", keepdims=1, axes=[-1])
    )
    nodes = [
        one("Abs", [node.input[0]], "sizes"),
        widest,
        one("Max", [f"{name}_widest", f"{name}_least"], "some"),
        one("Div", [f"{name}_some", f"{name}_most"], "scale"),
        one("Div", [node.input[0], f"{name}_scale"], "steps"),
        one("Round", [f"{name}_steps"], "whole"),
        one("Cast", [f"{name}_whole"], "row", to=TensorProto.INT8),
        one("MatMulInteger", [f"{name}_row", f"{name}_weights"], "sum"),
        one("Cast", [f"{name}_sum"], "wide", to=TensorProto.FLOAT),
        one("Mul", [f"{name}_wide", f"{name}_scale"], "scaled"),
    ]
    bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
    nodes.append(one("Mul", [f"{name}_scaled", f"{name}_scales"], "product"))
    if bias:
        nodes.append(helper.make_node("Add", [f"{name}_product", bias], [node.output[0]]))
    else:
        nodes[-1].output[0] = node.output[0]
    return nodes
