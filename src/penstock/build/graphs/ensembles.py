"""Tree ensembles inside of graphs: read from ai.onnx.ml's older operator, made smaller, written as its newer one.

    TreeEnsembleRegressor (a word and eight numbers a node) -> Ensemble -> TreeEnsemble (tensors, set 5)

What comes in: a node and its constants. What goes out: an `Ensemble`, and nodes that answer as it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from penstock.build.graphs.surgery import attribute

ML_OPSET = 5
"""The set of ai.onnx.ml whose tree operator holds tensors."""

MODES = {"BRANCH_LEQ": 0, "BRANCH_LT": 1}
"""When a row goes left, and the number that stands for it in the newer operator."""

Floats = npt.NDArray[np.float64]


class Split(NamedTuple):
    """A node that asks; `left` and `right` are places in its tree."""

    feature: int
    threshold: float
    left: int
    right: int
    missing_left: bool


class Leaf(NamedTuple):
    """A node that answers: what it adds to which sum."""

    target: int
    weight: float


Tree = tuple[Split | Leaf, ...]
"""Nodes; the first is the root."""


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """Trees whose leaves are summed.

    Attributes:
        trees: Each with its root first.
        mode: A key of `MODES`.
        outputs: Sums a row.
        base: Added to each sum.
    """

    trees: tuple[Tree, ...]
    mode: str
    outputs: int
    base: tuple[float, ...]


def read_ensemble(node: NodeProto) -> Ensemble:
    """The ensemble of a TreeEnsembleRegressor.

    Raises:
        NotImplementedError: It does more than to compare and to sum.
    """
    words = {one.name: one.s.decode() for one in node.attribute if one.s}
    if words.get("aggregate_function", "SUM") != "SUM" or words.get("post_transform", "NONE") != "NONE":
        raise NotImplementedError("trees that are not summed")
    modes = [word.decode() for word in attribute(node, "nodes_modes").strings]
    kinds = set(modes) - {"LEAF"}
    if len(kinds) > 1 or not kinds <= MODES.keys():
        raise NotImplementedError(f"trees that ask {', '.join(sorted(kinds))}")
    leaves: dict[tuple[int, int], Leaf] = {}
    for tree, at, target, weight in zip(
        attribute(node, "target_treeids").ints,
        attribute(node, "target_nodeids").ints,
        attribute(node, "target_ids").ints,
        _numbers(node, "target_weights"),
        strict=True,
    ):
        if (tree, at) in leaves:
            raise NotImplementedError("leaves that add to several sums")
        leaves[tree, at] = Leaf(target, float(weight))
    outputs = attribute(node, "n_targets").i or 1
    base = _numbers(node, "base_values")
    return Ensemble(
        trees=tuple(_trees(node, modes, leaves)),
        mode=next(iter(kinds), "BRANCH_LEQ"),
        outputs=outputs,
        base=tuple(base.tolist()) if base.size else (0.0,) * outputs,
    )


def _trees(node: NodeProto, modes: Sequence[str], leaves: dict[tuple[int, int], Leaf]) -> Iterator[Tree]:
    """Each tree, its nodes renumbered from its root."""
    names = ("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids")
    trees, numbers, features, lefts, rights = (attribute(node, name).ints for name in names)
    missing = attribute(node, "nodes_missing_value_tracks_true").ints or [0] * len(trees)
    values = _numbers(node, "nodes_values")
    rows: dict[int, list[int]] = {}
    for row, tree in enumerate(trees):
        rows.setdefault(tree, []).append(row)
    for tree, members in rows.items():
        place = {numbers[row]: at for at, row in enumerate(members)}
        inner = [row for row in members if modes[row] != "LEAF"]
        reached = {place[lefts[row]] for row in inner} | {place[rights[row]] for row in inner}
        if 0 in reached:
            raise NotImplementedError("trees whose root is not their first node")
        yield tuple(
            leaves.get((tree, numbers[row]), Leaf(0, 0.0))
            if modes[row] == "LEAF"
            else Split(features[row], float(values[row]), place[lefts[row]], place[rights[row]], bool(missing[row]))
            for row in members
        )


def _numbers(node: NodeProto, name: str) -> Floats:
    """An attribute's numbers, from its tensor where it has one."""
    tensor = attribute(node, f"{name}_as_tensor")
    if tensor.HasField("t"):
        return numpy_helper.to_array(tensor.t).astype(np.float64).reshape(-1)
    plain: AttributeProto = attribute(node, name)
    return np.array(plain.floats, dtype=np.float32).astype(np.float64)


# -- smaller, and the same -----------------------------------------------------------------------


def simplified(ensemble: Ensemble) -> Ensemble:
    """Without what changes nothing: questions whose answer is known or does not matter, trees that always say one."""
    base = list(ensemble.base)
    trees: list[Tree] = []
    for tree in ensemble.trees:
        nodes = _simple(tree)
        first = nodes[0]
        if isinstance(first, Leaf):
            base[first.target] += first.weight
        else:
            trees.append(nodes)
    return msgspec.structs.replace(ensemble, trees=tuple(trees), base=tuple(base))


class _Known(NamedTuple):
    """What is known of a feature below some questions: its range, and whether it may be missing."""

    low: float = -np.inf
    high: float = np.inf
    missing: bool = True


def _simple(tree: Tree) -> Tree:
    """One tree without the questions that need not be asked."""
    nodes: list[Split | Leaf] = []

    def put(at: int, known: dict[int, _Known]) -> int:
        node = tree[at]
        if isinstance(node, Leaf):
            nodes.append(node)
            return len(nodes) - 1
        seen = known.get(node.feature, _Known())
        sent = _sent(node, seen)
        if sent is not None:
            return put(node.left if sent else node.right, known)
        here = len(nodes)
        nodes.append(node)
        below = seen._replace(high=min(seen.high, node.threshold), missing=seen.missing and node.missing_left)
        above = seen._replace(low=max(seen.low, node.threshold), missing=seen.missing and not node.missing_left)
        left = put(node.left, {**known, node.feature: below})
        right = put(node.right, {**known, node.feature: above})
        if isinstance(nodes[left], Leaf) and nodes[left] == nodes[right]:
            same = nodes[left]
            del nodes[here:]
            nodes.append(same)
        else:
            nodes[here] = node._replace(left=left, right=right)
        return here

    put(0, {})
    return tuple(nodes)


def _sent(node: Split, seen: _Known) -> bool | None:
    """Whether all rows that get here go left, or right; None where that hangs on the row."""
    # Above a threshold t lies x > t where rows go left at x <= t, and x >= t where they do at x < t.
    left = seen.high <= node.threshold
    right = seen.low >= node.threshold
    if left and (node.missing_left or not seen.missing):
        return True
    if right and (not node.missing_left or not seen.missing):
        return False
    return None


def narrowed(ensemble: Ensemble) -> Ensemble:
    """With thresholds and leaves that floats can hold; rows that are floats themselves go as they went."""
    toward = -np.inf if ensemble.mode == "BRANCH_LEQ" else np.inf

    def narrow(node: Split | Leaf) -> Split | Leaf:
        if isinstance(node, Leaf):
            return node._replace(weight=float(np.float32(node.weight)))
        near = np.float32(node.threshold)
        if (float(near) > node.threshold) if toward < 0 else (float(near) < node.threshold):
            near = np.nextafter(near, np.float32(toward))
        return node._replace(threshold=float(near))

    trees = tuple(tuple(narrow(node) for node in tree) for tree in ensemble.trees)
    return msgspec.structs.replace(ensemble, trees=trees)


def contributions(tree: Tree, mode: str, rows: Floats) -> Floats:
    """What a tree adds for each row, whichever sum it adds to."""
    inner = [node if isinstance(node, Split) else Split(0, 0.0, at, at, False) for at, node in enumerate(tree)]
    features = np.array([node.feature for node in inner])
    thresholds = np.array([node.threshold for node in inner])
    left, right = np.array([node.left for node in inner]), np.array([node.right for node in inner])
    missing = np.array([node.missing_left for node in inner])
    weights = np.array([node.weight if isinstance(node, Leaf) else 0.0 for node in tree])
    at = np.zeros(len(rows), dtype=np.int64)
    while True:
        values = rows[np.arange(len(rows)), features[at]]
        goes = values <= thresholds[at] if mode == "BRANCH_LEQ" else values < thresholds[at]
        goes |= np.isnan(values) & missing[at]
        following = np.where(goes, left[at], right[at])
        if np.array_equal(following, at):
            return np.asarray(weights[at], dtype=np.float64)
        at = following


# -- written -------------------------------------------------------------------------------------


def write_ensemble(ensemble: Ensemble, rows: str, sums: str, element: int) -> list[NodeProto]:
    """Nodes that read doubles or floats, whichever `element` is, and give the sums in the same type.

    Raises:
        NotImplementedError: No tree is left.
    """
    if not ensemble.trees:
        raise NotImplementedError("no tree that asks anything")
    columns = _columns(ensemble)
    kind = np.float64 if element == TensorProto.DOUBLE else np.float32
    added = f"{sums}_of_trees"
    given: dict[str, Any] = {
        "nodes_modes": _tensor("nodes_modes", np.full(len(columns.splits), MODES[ensemble.mode], np.uint8)),
        "nodes_splits": _tensor("nodes_splits", np.array(columns.splits, kind)),
        "leaf_weights": _tensor("leaf_weights", np.array([leaf.weight for leaf in columns.leaves], kind)),
        "leaf_targetids": [leaf.target for leaf in columns.leaves],
        "nodes_featureids": columns.features,
        "nodes_truenodeids": columns.left,
        "nodes_trueleafs": columns.left_is_leaf,
        "nodes_falsenodeids": columns.right,
        "nodes_falseleafs": columns.right_is_leaf,
        "tree_roots": columns.roots,
        "n_targets": ensemble.outputs,
        "aggregate_function": 1,
        "post_transform": 0,
    }
    if any(columns.missing):
        given["nodes_missing_value_tracks_true"] = columns.missing
    trees = helper.make_node("TreeEnsemble", [rows], [added], domain="ai.onnx.ml", **given)
    base = _tensor(f"{sums}_base", np.array([ensemble.base], kind))
    return [
        trees,
        helper.make_node("Constant", [], [f"{sums}_base"], value=base),
        helper.make_node("Add", [added, f"{sums}_base"], [sums]),
    ]


class _Columns(msgspec.Struct):
    """The newer operator's lists: questions in one row, leaves in another."""

    features: list[int] = []
    splits: list[float] = []
    missing: list[int] = []
    left: list[int] = []
    left_is_leaf: list[int] = []
    right: list[int] = []
    right_is_leaf: list[int] = []
    roots: list[int] = []
    leaves: list[Leaf] = []


def _columns(ensemble: Ensemble) -> _Columns:
    """Every tree in one set of lists; leaves that say the same are one."""
    columns, places = _Columns(), {}
    for tree in ensemble.trees:
        numbers: dict[int, int] = {}
        for at, node in enumerate(tree):
            if isinstance(node, Split):
                numbers[at] = len(columns.features) + len(numbers)
            elif node not in places:
                places[node] = len(columns.leaves)
                columns.leaves.append(node)

        def place(at: int, tree: Tree = tree, numbers: dict[int, int] = numbers) -> tuple[int, int]:
            node = tree[at]
            return (places[node], 1) if isinstance(node, Leaf) else (numbers[at], 0)

        columns.roots.append(numbers[0])
        for node in tree:
            if isinstance(node, Split):
                left, right = place(node.left), place(node.right)
                columns.features.append(node.feature)
                columns.splits.append(node.threshold)
                columns.missing.append(int(node.missing_left))
                columns.left.append(left[0])
                columns.left_is_leaf.append(left[1])
                columns.right.append(right[0])
                columns.right_is_leaf.append(right[1])
    return columns


def _tensor(name: str, values: npt.NDArray[np.generic]) -> TensorProto:
    return numpy_helper.from_array(values, name)
