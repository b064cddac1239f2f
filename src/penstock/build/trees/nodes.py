"""Tree operators in double precision, node for node as the original's trees compare.

What comes in: a graph as skl2onnx wrote it (thresholds as floats, missing values always to the right), and the
original's own trees. What goes out: the same graph, changed in place: thresholds exact, missing values where the
original sends them, rows rounded to float32 first where the original does so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper

from penstock.build.graphs.surgery import attribute, floats, insert
from penstock.build.trees.estimators import TreeTable

TREES = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})
ML_OPSET = 3
"""The opset of ai.onnx.ml whose tree operators take doubles."""

_ROUNDED = 1e-6
"""More than a share of one loses as a float."""
_HAIR = 1e-12
"""More than adding up loses, and less than any answer shows."""

_NUMBERS = ("nodes_values", "base_values", "class_weights", "target_weights")


def widen_trees(model: ModelProto, tables: Sequence[TreeTable], *, narrow_rows: bool) -> None:
    """Let tree operators compare as the original does, and hand on doubles.

    Args:
        model: Its tree operators get double rows and have float thresholds; those that have doubles are left alone.
        tables: The original's trees; where they are not the operator's, its float thresholds stay.
        narrow_rows: The original rounds its rows to float32 first, as scikit-learn's trees do.
    """
    graph = model.graph
    for at in reversed(range(len(graph.node))):
        node = graph.node[at]
        if node.op_type not in TREES or any(one.name.endswith("_as_tensor") for one in node.attribute):
            continue
        _widen(node, tables)
        rows = f"{node.input[0]}_rows_{at}"
        before = [helper.make_node("Cast", [node.input[0]], [rows], to=TensorProto.DOUBLE)]
        if narrow_rows:
            before.insert(0, helper.make_node("Cast", [node.input[0]], [f"{rows}_narrow"], to=TensorProto.FLOAT))
            before[1].input[0] = f"{rows}_narrow"
        node.input[0] = rows
        answer = node.output[-1]
        node.output[-1] = f"{answer}_narrow"
        insert(graph, at + 1, [helper.make_node("Cast", [f"{answer}_narrow"], [answer], to=TensorProto.DOUBLE)])
        insert(graph, at, before)
    for opset in model.opset_import:
        if opset.domain == "ai.onnx.ml":
            opset.version = max(opset.version, ML_OPSET)


def _widen(node: NodeProto, tables: Sequence[TreeTable]) -> None:
    """An operator's numbers as doubles, thresholds and directions from the tables where they match."""
    values = floats(node, "nodes_values").astype(np.float64)
    trees = np.array(attribute(node, "nodes_treeids").ints)
    numbers = np.array(attribute(node, "nodes_nodeids").ints)
    features = np.array(attribute(node, "nodes_featureids").ints)
    inner = np.array([mode != b"LEAF" for mode in attribute(node, "nodes_modes").strings])
    missing = np.array(attribute(node, "nodes_missing_value_tracks_true").ints)
    if _same_trees(tables, trees, numbers, np.where(inner, features, -1)):
        for at in np.flatnonzero(inner):
            table = tables[trees[at]]
            values[at] = table.threshold[numbers[at]]
            missing[at] = int(table.missing_left[numbers[at]])
    for name in ("nodes_hitrates", "nodes_missing_value_tracks_true"):
        _drop(node, name)
    node.attribute.append(helper.make_attribute("nodes_missing_value_tracks_true", missing.tolist()))
    for name in _NUMBERS:
        given = attribute(node, name)
        if given.floats:
            wide = values if name == "nodes_values" else np.array(given.floats, dtype=np.float64)
            if name == "class_weights" and _of_two(node):
                wide = _votes(wide, len(set(trees.tolist())))
            _drop(node, name)
            tensor = helper.make_tensor(f"{name}_as_tensor", TensorProto.DOUBLE, [len(wide)], wide.tolist())
            node.attribute.append(helper.make_attribute(f"{name}_as_tensor", tensor))


def _of_two(node: NodeProto) -> bool:
    """Whether it sums the votes for one of two classes, and answers that one beyond half."""
    plain = attribute(node, "post_transform").s in (b"", b"NONE") and not attribute(node, "base_values").floats
    return plain and len(set(attribute(node, "class_ids").ints)) == 1


def _votes(weights: npt.NDArray[np.float64], trees: int) -> npt.NDArray[np.float64]:
    """Votes as the original has them where a float lost them, a hair less, so that a tie is never beyond half."""
    shares = weights * trees
    if shares.min(initial=0.0) < 0.0 or shares.max(initial=0.0) > 1.0 + _ROUNDED:
        return weights
    whole = np.rint(shares)
    return np.where(np.abs(shares - whole) < _ROUNDED, whole, shares) * (1.0 - _HAIR) / trees


def _same_trees(
    tables: Sequence[TreeTable],
    trees: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int64],
    features: npt.NDArray[np.int64],
) -> bool:
    """Whether the operator's nodes are those of the tables: as many, and each compares the same column."""
    if not tables or len(trees) != sum(len(table.feature) for table in tables) or trees.max() >= len(tables):
        return False
    for tree, table in enumerate(tables):
        mine = trees == tree
        known = np.where(table.inner, table.feature, -1)
        if mine.sum() != len(known) or not np.array_equal(features[mine], known[numbers[mine]]):
            return False
    return True


def _drop(node: NodeProto, name: str) -> None:
    """Remove an attribute."""
    for one in [known for known in node.attribute if known.name == name]:
        node.attribute.remove(one)
