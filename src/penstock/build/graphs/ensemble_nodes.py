"""Tree ensembles read from ai.onnx.ml's older operators and written as its newer one.

    TreeEnsembleRegressor, TreeEnsembleClassifier (a word and eight numbers a node) -> Ensemble
    Ensemble -> TreeEnsemble (tensors, set 5) -> sums -> answers

What comes in: a node and its constants. What goes out: an `Ensemble`, and nodes that answer as it does. A tree of the
newer operator adds one number to one sum. Where a leaf has one for each class, the tree answers which leaf it was, and
the numbers stand in a table beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from penstock.build.graphs.ensembles import MODES, Ensemble, Floats, Leaf, Split, Tree
from penstock.build.graphs.surgery import attribute

ML_OPSET = 5
"""The set of ai.onnx.ml whose tree operator holds tensors."""

_ALIKE = 1e-5
"""Averages add to 1 but for the rounding of floats."""

Sums = dict[int, float]
"""What a leaf adds, by sum."""


def read_ensemble(node: NodeProto) -> Ensemble:
    """The ensemble of an older tree operator; of a classifier, what comes before its answers are made.

    Raises:
        NotImplementedError: It does more than to compare and to sum.
    """
    prefix = "class" if node.op_type == "TreeEnsembleClassifier" else "target"
    words = {one.name: one.s.decode() for one in node.attribute if one.s}
    if words.get("aggregate_function", "SUM") != "SUM":
        raise NotImplementedError("trees that are not summed")
    if prefix == "target" and words.get("post_transform", "NONE") != "NONE":
        raise NotImplementedError("trees whose sums are changed")
    modes = [word.decode() for word in attribute(node, "nodes_modes").strings]
    kinds = set(modes) - {"LEAF"}
    if len(kinds) > 1 or not kinds <= MODES.keys():
        raise NotImplementedError(f"trees that ask {', '.join(sorted(kinds))}")
    leaves: dict[tuple[int, int], Sums] = {}
    for tree, at, target, weight in zip(
        attribute(node, f"{prefix}_treeids").ints,
        attribute(node, f"{prefix}_nodeids").ints,
        attribute(node, f"{prefix}_ids").ints,
        _numbers(node, f"{prefix}_weights"),
        strict=True,
    ):
        sums = leaves.setdefault((tree, at), {})
        sums[target] = sums.get(target, 0.0) + float(weight)
    outputs = len(_labels(node)) if prefix == "class" else attribute(node, "n_targets").i or 1
    base = _numbers(node, "base_values")
    found = Ensemble(trees=(), mode=next(iter(kinds), "BRANCH_LEQ"), outputs=outputs, base=tuple(base.tolist()))
    if prefix == "class" and outputs == 2:
        found, leaves = _of_two(found, leaves)
    if len(found.base) not in (0, found.outputs):
        raise NotImplementedError("trees with fewer base values than sums")
    found = msgspec.structs.replace(found, base=found.base or (0.0,) * found.outputs)
    return _with_trees(found, node, modes, leaves)


def _labels(node: NodeProto) -> list[int] | list[bytes]:
    """The classes of a classifier."""
    numbers, words = attribute(node, "classlabels_int64s").ints, attribute(node, "classlabels_strings").strings
    return list(words) if words else list(numbers)


def _of_two(found: Ensemble, leaves: dict[tuple[int, int], Sums]) -> tuple[Ensemble, dict[tuple[int, int], Sums]]:
    """The one sum of a classifier of two classes, which the operator answers beside what is left of a whole.

    Of sums that may be negative that whole is 0: it answers minus the sum, and the sum.
    """
    if len({target for sums in leaves.values() for target in sums}) > 1:
        raise NotImplementedError("trees that add to both of two classes")
    if len(found.base) > 1:
        raise NotImplementedError("trees with two base values for one sum")
    positive = all(weight >= 0 for sums in leaves.values() for weight in sums.values())
    alone = {place: {0: next(iter(sums.values()))} for place, sums in leaves.items()}
    return msgspec.structs.replace(found, outputs=1, whole=1.0 if positive else 0.0), alone


def _with_trees(
    found: Ensemble, node: NodeProto, modes: Sequence[str], leaves: dict[tuple[int, int], Sums]
) -> Ensemble:
    """The trees, their leaves alone or as rows of a table; votes in whole numbers, which floats add exactly."""
    trees = len(set(attribute(node, "nodes_treeids").ints))
    several = _several(leaves)
    unit = _share(found, leaves, trees) if found.whole == 1.0 or several else 0.0
    if unit:
        leaves = {place: {at: weight / unit for at, weight in sums.items()} for place, sums in leaves.items()}
        found = msgspec.structs.replace(found, votes=True, scale=unit)
    rows: dict[tuple[float, ...], int] = {}

    def leaf(sums: Sums) -> Leaf:
        if not several:
            return Leaf(*next(iter(sums.items()), (0, 0.0)))
        row = tuple(sums.get(at, 0.0) for at in range(found.outputs))
        return Leaf(0, float(rows.setdefault(row, len(rows))))

    made = tuple(_trees(node, modes, {place: leaf(sums) for place, sums in leaves.items()}, leaf({})))
    return msgspec.structs.replace(found, trees=made, table=tuple(rows))


def _share(found: Ensemble, leaves: dict[tuple[int, int], Sums], trees: int) -> float:
    """What one of so many trees that are averaged has to say; 0 where they are not."""
    added = [sum(sums.values()) * trees for sums in leaves.values()]
    least = min(added, default=0.0) if found.whole is None else 1.0
    if not added or any(found.base) or abs(least - 1.0) > _ALIKE or max(added) > 1.0 + _ALIKE:
        return 0.0
    most = max(weight for sums in leaves.values() for weight in sums.values())
    return most if abs(most * trees - 1.0) < _ALIKE else 1.0 / trees


def _several(leaves: dict[tuple[int, int], Sums]) -> bool:
    """Whether some leaf adds to several sums."""
    return any(len(sums) > 1 for sums in leaves.values())


def _trees(node: NodeProto, modes: Sequence[str], leaves: dict[tuple[int, int], Leaf], nothing: Leaf) -> Iterator[Tree]:
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
            leaves.get((tree, numbers[row]), nothing)
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


# -- written -------------------------------------------------------------------------------------


def write_ensemble(ensemble: Ensemble, rows: str, sums: str, element: int) -> list[NodeProto]:
    """Nodes that read doubles or floats, whichever `element` is, and give the sums in the same type.

    Raises:
        NotImplementedError: No tree is left.
    """
    if not ensemble.trees:
        raise NotImplementedError("no tree that asks anything")
    kind: type[np.floating] = np.float64 if element == TensorProto.DOUBLE else np.float32
    added = f"{sums}_of_trees"
    if ensemble.table:
        leaves = f"{sums}_leaves"
        nodes = [_operator(ensemble, rows, leaves, kind), *_looked_up(ensemble, leaves, added, kind)]
    else:
        nodes = [_operator(ensemble, rows, added, kind)]
    nodes += [_constant(f"{sums}_base", np.array([ensemble.base], kind))]
    nodes += [helper.make_node("Add", [added, f"{sums}_base"], [f"{sums}_whole"])]
    if ensemble.scale != 1.0:
        nodes += [_constant(f"{sums}_scale", np.array([[ensemble.scale]], kind))]
        nodes += [helper.make_node("Mul", [nodes[-2].output[0], f"{sums}_scale"], [f"{sums}_scaled"])]
    if ensemble.whole is not None:
        second = nodes[-1].output[0]
        nodes += [_constant(f"{sums}_of_two", np.array([[ensemble.whole]], kind))]
        nodes += [helper.make_node("Sub", [f"{sums}_of_two", second], [f"{sums}_first"])]
        nodes += [helper.make_node("Concat", [f"{sums}_first", second], [f"{sums}_both"], axis=1)]
    nodes[-1].output[0] = sums
    return nodes


def write_answers(node: NodeProto, sums: str) -> list[NodeProto]:
    """Nodes that make a classifier's label and its numbers of the sums, each under the classifier's own name.

    Args:
        node: The older operator.
        sums: What `write_ensemble` gives.

    Raises:
        NotImplementedError: It changes the sums in a way that is not known here.
    """
    kind = {"LOGISTIC": "Sigmoid", "SOFTMAX": "Softmax", "NONE": "Identity"}.get(
        attribute(node, "post_transform").s.decode() or "NONE"
    )
    if kind is None:
        raise NotImplementedError("trees whose sums are changed")
    label, numbers = node.output[0], node.output[1] if len(node.output) > 1 else ""
    classes = _labels(node)
    known = np.array([one.decode() for one in classes if isinstance(one, bytes)] or classes)
    text = known.dtype.kind == "U"
    nodes = []
    if label:
        nodes += [_constant(f"{sums}_classes", known.astype(object) if text else known.astype(np.int64))]
        nodes += [helper.make_node("ArgMax", [sums], [f"{sums}_most"], axis=1, keepdims=0)]
        nodes += [helper.make_node("Gather", [f"{sums}_classes", f"{sums}_most"], [label], axis=0)]
    if numbers:
        nodes += [helper.make_node(kind, [sums], [f"{sums}_answer"])]  # Softmax goes by the last axis, the classes
        # The older operator answers floats whatever it reads, and what follows may be of that mind.
        nodes += [helper.make_node("Cast", [f"{sums}_answer"], [numbers], to=TensorProto.FLOAT)]
    return nodes


def _operator(ensemble: Ensemble, rows: str, answer: str, kind: type[np.floating]) -> NodeProto:
    """The trees; those with a table answer the row of it, each in a place of its own."""
    columns = _columns(ensemble)
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
        "n_targets": len(ensemble.trees) if ensemble.table else ensemble.outputs,
        "aggregate_function": 1,
        "post_transform": 0,
    }
    if any(columns.missing):
        given["nodes_missing_value_tracks_true"] = columns.missing
    return helper.make_node("TreeEnsemble", [rows], [answer], domain="ai.onnx.ml", **given)


def _looked_up(ensemble: Ensemble, leaves: str, sums: str, kind: type[np.floating]) -> list[NodeProto]:
    """The rows of the table that the trees name, added up."""
    return [
        helper.make_node("Cast", [leaves], [f"{leaves}_at"], to=TensorProto.INT64),
        _constant(f"{leaves}_table", np.array(ensemble.table, kind)),
        helper.make_node("Gather", [f"{leaves}_table", f"{leaves}_at"], [f"{leaves}_rows"], axis=0),
        _constant(f"{leaves}_axes", np.array([1], np.int64)),
        helper.make_node("ReduceSum", [f"{leaves}_rows", f"{leaves}_axes"], [sums], keepdims=0),
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
    columns = _Columns()
    places: dict[Leaf, int] = {}
    for number, tree in enumerate(ensemble.trees):
        numbers: dict[int, int] = {}
        own = tuple(_own(node, number) for node in tree) if ensemble.table else tree
        for at, node in enumerate(own):
            if isinstance(node, Split):
                numbers[at] = len(columns.features) + len(numbers)
            elif node not in places:
                places[node] = len(columns.leaves)
                columns.leaves.append(node)

        def place(at: int, tree: Tree = own, numbers: dict[int, int] = numbers) -> tuple[int, int]:
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


def _own(node: Split | Leaf, number: int) -> Split | Leaf:
    """A leaf that answers in its tree's own place."""
    return node if isinstance(node, Split) else node._replace(target=number)


def _constant(name: str, values: npt.NDArray[np.generic]) -> NodeProto:
    """A node that holds numbers or text."""
    return helper.make_node("Constant", [], [name], value=_tensor(name, values))


def _tensor(name: str, values: npt.NDArray[np.generic]) -> TensorProto:
    return numpy_helper.from_array(values, name)
