"""Forests made smaller answer as before, next to thresholds and where values are missing, too."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from penstock.build.graphs.compact import serialized
from penstock.build.graphs.ensembles import (
    Ensemble,
    Leaf,
    Split,
    contributions,
    narrowed,
    read_ensemble,
    simplified,
    write_ensemble,
)
from penstock.build.trees.forest import Forest, Node
from penstock.build.trees.forest_nodes import nodes_of

MODES = ("BRANCH_LEQ", "BRANCH_LT")


def grown(seed: int, mode: str, *, depth: int = 5, trees: int = 6) -> Ensemble:
    """Trees that ask the same of few features again and again, so that many questions need not be asked."""
    chance = np.random.default_rng(seed)

    def tree() -> tuple[Split | Leaf, ...]:
        nodes: list[Split | Leaf] = []

        def put(level: int) -> int:
            at = len(nodes)
            if level == depth or chance.random() < 0.1:
                nodes.append(Leaf(int(chance.integers(2)), float(chance.integers(3)) / 7))
                return at
            nodes.append(Leaf(0, 0.0))
            feature, missing = int(chance.integers(3)), bool(chance.integers(2))
            threshold = float(chance.choice([-0.3, 0.1, 0.7, 1 / 3]))
            left = put(level + 1)
            nodes[at] = Split(feature, threshold, left, put(level + 1), missing)
            return at

        put(0)
        return tuple(nodes)

    return Ensemble(trees=tuple(tree() for _ in range(trees)), mode=mode, outputs=2, base=(0.5, -1.0))


def hard_rows() -> np.ndarray:
    """Every threshold, its neighbours, and nothing at all."""
    points = [-0.3, 0.1, 0.7, 1 / 3]
    values = [*points, *(np.nextafter(one, np.inf) for one in points), *(np.nextafter(one, -np.inf) for one in points)]
    values += [np.nan, np.inf, -np.inf, 0.0]
    return np.random.default_rng(0).choice(np.array(values), size=(4000, 3))


def sums(ensemble: Ensemble, rows: np.ndarray) -> np.ndarray:
    """By plain walking, each leaf's target minded."""
    found = np.tile(np.array(ensemble.base), (len(rows), 1))
    for tree in ensemble.trees:
        for at, row in enumerate(rows):
            node = tree[0]
            while isinstance(node, Split):
                value = row[node.feature]
                goes = value <= node.threshold if ensemble.mode == "BRANCH_LEQ" else value < node.threshold
                node = tree[node.left if goes or (np.isnan(value) and node.missing_left) else node.right]
            found[at, node.target] += node.weight
    return found


def run(ensemble: Ensemble, rows: np.ndarray, element: int) -> np.ndarray:
    """By ONNX Runtime, of the bytes as they are packaged."""
    nodes = write_ensemble(ensemble, "rows", "sums", element)
    graph = helper.make_graph(
        nodes,
        "trees",
        [helper.make_tensor_value_info("rows", element, [None, 3])],
        [helper.make_tensor_value_info("sums", element, [None, 2])],
    )
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    data = serialized(helper.make_model(graph, opset_imports=sets, ir_version=9))
    kind = np.float64 if element == TensorProto.DOUBLE else np.float32
    (found,) = onnxruntime.InferenceSession(data).run(["sums"], {"rows": rows.astype(kind)})
    return np.asarray(found)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(6))
def test_what_need_not_be_asked_goes_and_nothing_changes(seed: int, mode: str) -> None:
    ensemble, rows = grown(seed, mode), hard_rows()[:600]
    smaller = simplified(ensemble)
    assert sum(map(len, smaller.trees)) < sum(map(len, ensemble.trees))
    np.testing.assert_allclose(sums(smaller, rows), sums(ensemble, rows), atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_it_is_written_as_it_is(mode: str) -> None:
    ensemble, rows = simplified(grown(1, mode)), hard_rows()
    np.testing.assert_allclose(run(ensemble, rows, TensorProto.DOUBLE), sums(ensemble, rows), atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_rows_of_floats_go_the_same_way_by_thresholds_of_floats(mode: str) -> None:
    ensemble, rows = grown(2, mode), hard_rows().astype(np.float32).astype(np.float64)
    narrow = simplified(narrowed(ensemble))
    np.testing.assert_allclose(run(narrow, rows, TensorProto.FLOAT), sums(ensemble, rows), atol=1e-6)


def test_a_missing_value_keeps_a_question_that_no_number_needs() -> None:
    """Below x <= 0.1 the answer to x <= 0.7 is known of every number; of a missing one it is the other."""
    tree = (Split(0, 0.1, 1, 4, True), Split(0, 0.7, 2, 3, False), Leaf(0, 1.0), Leaf(0, 2.0), Leaf(0, 3.0))
    kept = simplified(Ensemble(trees=(tree,), mode="BRANCH_LEQ", outputs=1, base=(0.0,)))
    assert kept.trees == (tree,)
    sure = (tree[0], tree[1]._replace(missing_left=True), *tree[2:])
    (shorter,) = simplified(Ensemble(trees=(sure,), mode="BRANCH_LEQ", outputs=1, base=(0.0,))).trees
    assert shorter == (Split(0, 0.1, 1, 2, True), Leaf(0, 1.0), Leaf(0, 3.0))


def test_a_tree_that_always_says_one_is_a_number() -> None:
    flat = (Split(0, 0.1, 1, 2, True), Leaf(1, 2.0), Leaf(1, 2.0))
    found = simplified(Ensemble(trees=(flat,), mode="BRANCH_LT", outputs=2, base=(0.0, 1.0)))
    assert found.trees == ()
    assert found.base == (0.0, 3.0)
    with pytest.raises(NotImplementedError):
        write_ensemble(found, "rows", "sums", TensorProto.DOUBLE)


def test_the_older_operator_is_read_node_for_node() -> None:
    forest = Forest(
        trees=((Node(1, 0.25, 1, 2, True), Node(-1, 4.0), Node(0, -3.0, 3, 4), Node(-1, 5.0), Node(-1, 6.0)),),
        outputs=1,
        mode="BRANCH_LEQ",
        narrow=False,
        base=(0.125,),
        link="identity",
    )
    (node,) = [one for one in nodes_of(forest, "rows", "sums") if one.op_type == "TreeEnsembleRegressor"]
    found = read_ensemble(node)
    assert found.base == (0.125,)
    assert found.trees == (
        (Split(1, 0.25, 1, 2, True), Leaf(0, 4.0), Split(0, -3.0, 3, 4, False), Leaf(0, 5.0), Leaf(0, 6.0)),
    )
    rows = np.array([[0.0, 0.25], [-3.0, 1.0], [0.0, np.nan], [np.nan, 1.0]])
    assert contributions(found.trees[0], found.mode, rows).tolist() == [4.0, 5.0, 4.0, 6.0]


def test_packed_bytes_are_the_same_message() -> None:
    numbers = [0, 1, -1, 127, 128, 2**62, -(2**62), 300, 5]
    node = helper.make_node("Made", ["a"], ["b"], long=numbers, short=[1, 2], word="x", domain="ai.onnx.ml")
    graph = helper.make_graph([node, helper.make_node("Identity", ["b"], ["c"])], "g", [], [])
    model = helper.make_model(graph)
    data = serialized(model)
    assert ModelProto.FromString(data) == model
    assert len(data) < len(model.SerializeToString())
