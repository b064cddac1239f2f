"""A forest as ONNX nodes in double precision: tree sums, then the link that makes answers of them.

What comes in: a `Forest`. What goes out: nodes that answer as the library that grew it does; constants are nodes too,
so that they can be appended to any graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

from penstock.build.trees.forest import Forest


def nodes_of(forest: Forest, rows: str, answer: str) -> Iterator[NodeProto]:
    """Nodes that read ``rows`` (any number type) and give ``answer``: probabilities or predictions, doubles."""
    names = iter(f"{answer}_{step}" for step in range(99))
    if forest.narrow:
        narrowed = next(names)
        yield helper.make_node("Cast", [rows], [narrowed], to=TensorProto.FLOAT)
        rows = narrowed
    wide, sums, wide_sums, scale, raw = (next(names) for _ in range(5))
    yield helper.make_node("Cast", [rows], [wide], to=TensorProto.DOUBLE)
    yield _trees(forest, wide, sums)
    yield helper.make_node("Cast", [sums], [wide_sums], to=TensorProto.DOUBLE)
    yield constant(scale, np.array([forest.scale]))
    yield helper.make_node("Mul", [wide_sums, scale], [raw])
    if forest.link == "softmax":
        yield helper.make_node("Softmax", [raw], [answer], axis=1)
    elif forest.link == "exp":
        yield helper.make_node("Exp", [raw], [answer])
    elif forest.link == "identity":
        yield helper.make_node("Identity", [raw], [answer])
    elif forest.link == "sigmoids":
        yield helper.make_node("Sigmoid", [raw], [answer])
    else:
        one, yes, no = (next(names) for _ in range(3))
        yield constant(one, np.array([1.0]))
        yield helper.make_node("Sigmoid", [raw], [yes])
        yield helper.make_node("Sub", [one, yes], [no])
        yield helper.make_node("Concat", [no, yes], [answer], axis=1)


def label_nodes(probabilities: str, label: str, classes: Sequence[str | int | bool]) -> Iterator[NodeProto]:
    """Nodes that answer the most probable class."""
    known = np.array(classes)
    yield helper.make_node("ArgMax", [probabilities], [f"{label}_at"], axis=1, keepdims=0)
    yield constant(f"{label}_known", known.astype(object) if known.dtype.kind in "UO" else known.astype(np.int64))
    yield helper.make_node("Gather", [f"{label}_known", f"{label}_at"], [label], axis=0)


def constant(name: str, values: npt.NDArray[np.generic]) -> NodeProto:
    """A node that holds numbers or text."""
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values, name))


def _trees(forest: Forest, rows: str, sums: str) -> NodeProto:
    """The tree operator, its numbers as doubles."""
    flat = [(tree, at, node) for tree, nodes in enumerate(forest.trees) for at, node in enumerate(nodes)]
    leaves = [
        (tree, at, output, value)
        for tree, at, node in flat
        if node.feature < 0
        for output, value in (enumerate(node.values) if node.values else [(tree % forest.outputs, node.value)])
    ]
    return helper.make_node(
        "TreeEnsembleRegressor",
        [rows],
        [sums],
        domain="ai.onnx.ml",
        n_targets=forest.outputs,
        nodes_treeids=[tree for tree, _, _ in flat],
        nodes_nodeids=[at for _, at, _ in flat],
        nodes_featureids=[max(node.feature, 0) for _, _, node in flat],
        nodes_modes=["LEAF" if node.feature < 0 else forest.mode for _, _, node in flat],
        nodes_values_as_tensor=_doubles("nodes_values", [node.value for _, _, node in flat]),
        nodes_truenodeids=[node.left for _, _, node in flat],
        nodes_falsenodeids=[node.right for _, _, node in flat],
        nodes_missing_value_tracks_true=[int(node.missing_left) for _, _, node in flat],
        target_treeids=[tree for tree, _, _, _ in leaves],
        target_nodeids=[at for _, at, _, _ in leaves],
        target_ids=[output for _, _, output, _ in leaves],
        target_weights_as_tensor=_doubles("target_weights", [value for _, _, _, value in leaves]),
        base_values_as_tensor=_doubles("base_values", list(forest.base)),
    )


def _doubles(name: str, values: list[float]) -> TensorProto:
    """Numbers at full width."""
    return helper.make_tensor(name, TensorProto.DOUBLE, [len(values)], values)
