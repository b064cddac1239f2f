"""Forests made smaller answer as before, next to thresholds and where values are missing, too."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from msgspec import structs
from onnx import ModelProto, NodeProto, TensorProto, helper
from sklearn.ensemble import RandomForestClassifier

from penstock.build.compile import candidates
from penstock.build.graphs.compact import serialized
from penstock.build.graphs.ensemble_nodes import read_ensemble, write_answers, write_ensemble
from penstock.build.graphs.ensembles import (
    Ensemble,
    Leaf,
    Split,
    contributions,
    narrowed,
    parted,
    simplified,
    thinned,
)
from penstock.build.trees.forest import Forest, Node
from penstock.build.trees.forest_nodes import nodes_of
from penstock.tensors import TensorSpec

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
    assert contributions(found, rows).tolist() == [[[4.0], [5.0], [4.0], [6.0]]]


def test_packed_bytes_are_the_same_message() -> None:
    numbers = [0, 1, -1, 127, 128, 2**62, -(2**62), 300, 5]
    node = helper.make_node("Made", ["a"], ["b"], long=numbers, short=[1, 2], word="x", domain="ai.onnx.ml")
    graph = helper.make_graph([node, helper.make_node("Identity", ["b"], ["c"])], "g", [], [])
    model = helper.make_model(graph)
    data = serialized(model)
    assert ModelProto.FromString(data) == model
    assert len(data) < len(model.SerializeToString())


# -- forests that vote ---------------------------------------------------------------------------


def voted(seed: int, *, classes: int, sure: bool = True) -> Ensemble:
    """`grown` trees whose leaves say of each class how likely it is."""
    chance = np.random.default_rng(seed)
    table = np.eye(classes) if sure else chance.dirichlet(np.ones(classes), 6)
    trees = tuple(
        tuple(one if isinstance(one, Split) else Leaf(0, float(chance.integers(len(table)))) for one in tree)
        for tree in grown(seed, "BRANCH_LEQ").trees
    )
    rows = tuple(tuple(row) for row in table.tolist())
    return Ensemble(
        trees=trees, mode="BRANCH_LEQ", outputs=classes, base=(0.0,) * classes, scale=1 / 6, table=rows, votes=True
    )


def older(ensemble: Ensemble, classes: list, *, post: str = "NONE", base: tuple[float, ...] = ()) -> NodeProto:
    """The older classifier of an ensemble, as converters write it: of two classes the one number of the second."""
    flat = [(tree, at, node) for tree, nodes in enumerate(ensemble.trees) for at, node in enumerate(nodes)]
    leaves = []
    for tree, at, node in flat:
        if isinstance(node, Leaf):
            row = ensemble.table[int(node.weight)] if ensemble.table else (node.weight,)
            said = [(0, row[-1])] if len(classes) == 2 else list(enumerate(row))
            leaves += [(tree, at, target, weight * ensemble.scale) for target, weight in said]
    inner = [node if isinstance(node, Split) else Split(0, 0.0, 0, 0, False) for _, _, node in flat]
    named = {"classlabels_strings": classes} if isinstance(classes[0], str) else {"classlabels_int64s": classes}
    if base:
        named["base_values_as_tensor"] = helper.make_tensor("base", TensorProto.DOUBLE, [len(base)], base)
    return helper.make_node(
        "TreeEnsembleClassifier",
        ["rows"],
        ["label", "numbers"],
        domain="ai.onnx.ml",
        post_transform=post,
        nodes_treeids=[tree for tree, _, _ in flat],
        nodes_nodeids=[at for _, at, _ in flat],
        nodes_featureids=[node.feature for node in inner],
        nodes_modes=["LEAF" if isinstance(node, Leaf) else ensemble.mode for _, _, node in flat],
        nodes_values_as_tensor=doubles([node.threshold for node in inner]),
        nodes_truenodeids=[node.left for node in inner],
        nodes_falsenodeids=[node.right for node in inner],
        nodes_missing_value_tracks_true=[int(node.missing_left) for node in inner],
        class_treeids=[tree for tree, _, _, _ in leaves],
        class_nodeids=[at for _, at, _, _ in leaves],
        class_ids=[target for _, _, target, _ in leaves],
        class_weights_as_tensor=doubles([weight for _, _, _, weight in leaves]),
        **named,
    )


def doubles(values: list[float]) -> TensorProto:
    return helper.make_tensor("numbers", TensorProto.DOUBLE, [len(values)], values)


def asked(nodes: list[NodeProto], rows: np.ndarray, label: int) -> list[np.ndarray]:
    """Label and numbers of nodes, by ONNX Runtime, of the bytes as they are packaged."""
    graph = helper.make_graph(
        nodes,
        "trees",
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, 3])],
        [
            helper.make_tensor_value_info("label", label, [None]),
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, None]),
        ],
    )
    newer = any(node.op_type == "TreeEnsemble" for node in nodes)
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5 if newer else 3)]
    data = serialized(helper.make_model(graph, opset_imports=sets, ir_version=9))
    found: list[np.ndarray] = onnxruntime.InferenceSession(data).run(["label", "numbers"], {"rows": rows})
    return found


@pytest.mark.parametrize("sure", [True, False])
@pytest.mark.parametrize("classes", [[0, 1], ["no", "yes"], [3, 1, 2], ["a", "b", "c", "d"]])
def test_votes_are_read_and_written_as_they_were_cast(classes: list, sure: bool) -> None:
    """Ties are many among six trees, and the older operator has its own way with them."""
    node = older(voted(3, classes=len(classes), sure=sure), classes)
    rows, label = hard_rows(), TensorProto.STRING if isinstance(classes[0], str) else TensorProto.INT64
    before = asked([node], rows, label)
    read = read_ensemble(node)
    assert read.votes
    for some in (simplified(read), *([simplified(parted(read))] if read.table else [])):
        after = asked(
            [*write_ensemble(some, "rows", "sums", TensorProto.DOUBLE), *write_answers(node, "sums")], rows, label
        )
        clear = np.partition(before[1], -2, axis=1)
        same = np.abs(clear[:, -1] - clear[:, -2]) > 1e-6
        assert same.sum() > 100
        assert (before[0] == after[0])[same].all()
        np.testing.assert_allclose(after[1], before[1], atol=1e-6)


@pytest.mark.parametrize(
    ("post", "classes", "base"),
    [("LOGISTIC", [0, 1], (0.25,)), ("NONE", [0, 1], ()), ("SOFTMAX", [0, 1, 2], (0.1, -0.2, 0.5))],
)
def test_boosted_classifiers_are_read_too(post: str, classes: list, base: tuple[float, ...]) -> None:
    """Their leaves may be negative: then the first of two classes has minus what the second has."""
    grove = grown(4, "BRANCH_LEQ")
    grove = Ensemble(
        trees=tuple(
            tuple(one if isinstance(one, Split) else Leaf(0, one.weight - 0.2) for one in tree) for tree in grove.trees
        ),
        mode=grove.mode, outputs=1, base=(0.0,),
    )  # fmt: skip
    node = older(grove, classes, post=post, base=base)
    if len(classes) == 3:
        ids = next(one for one in node.attribute if one.name == "class_ids")
        ids.ints[:] = [tree % 3 for tree in next(one for one in node.attribute if one.name == "class_treeids").ints]
    rows = hard_rows()
    before = asked([node], rows, TensorProto.INT64)
    read = read_ensemble(node)
    assert not read.votes
    nodes = [*write_ensemble(simplified(read), "rows", "sums", TensorProto.DOUBLE), *write_answers(node, "sums")]
    after = asked(nodes, rows, TensorProto.INT64)
    assert (before[0] == after[0]).mean() > 0.999
    np.testing.assert_allclose(after[1], before[1], atol=1e-6)


def test_what_a_classifier_does_beside_is_not_guessed_at() -> None:
    node = older(voted(1, classes=2), [0, 1], post="PROBIT")
    with pytest.raises(NotImplementedError, match="changed"):
        write_answers(node, "sums")
    both = older(voted(1, classes=3), [0, 1, 2])
    next(one for one in both.attribute if one.name == "classlabels_int64s").ints.pop()
    with pytest.raises(NotImplementedError, match="both of two"):
        read_ensemble(both)


def test_a_tie_of_two_classes_is_the_first_as_the_forest_has_it() -> None:
    """Ten trees, and a tenth as a float is more than a tenth: five of ten would be beyond half."""
    rows = np.random.default_rng(0).normal(size=(600, 6))
    forest = RandomForestClassifier(10, random_state=0).fit(rows[:300], (rows[:300, 0] + rows[:300, 1] > 0).astype(int))
    ties = rows[np.abs(forest.predict_proba(rows)[:, 0] - 0.5) < 1e-9]
    assert len(ties) > 5
    inputs = (TensorSpec(name="rows", datatype="FP64", shape=(-1, 6)),)
    outputs = (
        TensorSpec(name="label", datatype="INT64", shape=(-1,)),
        TensorSpec(name="probabilities", datatype="FP64", shape=(-1, 2)),
    )
    graph = next(iter(candidates(forest, inputs, outputs)))()
    (label,) = onnxruntime.InferenceSession(graph).run(["label"], {"rows": ties})
    assert label.tolist() == forest.predict(ties).tolist() == [0] * len(ties)


def test_fewer_votes_are_still_votes() -> None:
    """Averages over fewer trees add to 1; sums of fewer are moved to where all of them were."""
    rows, whole = hard_rows()[:800], voted(5, classes=3, sure=False)
    always = (Split(0, 0.1, 1, 2, True), Leaf(0, 1.0), Leaf(0, 1.0))
    forest = simplified(structs.replace(whole, trees=(always, *whole.trees), scale=1 / 7))
    assert sum(forest.base) > 0.9
    said = contributions(forest, rows)
    fewer = thinned(forest, said, 0.5)
    assert len(fewer.trees) == 3
    kept = (contributions(fewer, rows).sum(axis=0) + fewer.base) * fewer.scale
    np.testing.assert_allclose(kept.sum(axis=1), 1.0, atol=1e-9)
    boosted = grown(6, "BRANCH_LT")
    said = contributions(boosted, rows)
    fewer = thinned(boosted, said, 0.5)
    wanted = said.sum(axis=0) + boosted.base
    plain = said[np.argsort(-said.std(axis=1).sum(axis=1))[:3]].sum(axis=0) + boosted.base
    found = contributions(fewer, rows).sum(axis=0) + fewer.base
    np.testing.assert_allclose(found.mean(axis=0), wanted.mean(axis=0), atol=1e-9)
    assert np.square(found - wanted).sum() < np.square(plain - wanted).sum()
