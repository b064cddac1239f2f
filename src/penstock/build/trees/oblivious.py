"""CatBoost's trees as a `Forest`: read from its own JSON, float for float.

What comes in: a CatBoost model over numbers. What goes out: a `Forest`. A tree's level asks one question of all its
nodes, so a tree of depth d is written out as 2^d leaves; what would be too large for that stays with CatBoost, as do
categories, text and embeddings. Its own export to ONNX rounds leaves to floats and sends every missing value one way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np

from penstock.build.trees.forest import Dump, Forest, Node, as_list, as_mapping

MAX_NODES = 2_000_000

CATBOOST_LINKS = {
    "Logloss": "sigmoid",
    "CrossEntropy": "sigmoid",
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "sigmoids",
    "Poisson": "exp",
    "Tweedie": "exp",
    **dict.fromkeys(
        (
            "RMSE", "MAE", "Quantile", "MultiQuantile", "MultiRMSE", "MultiRMSEWithMissingValues", "LogCosh", "Huber",
            "Expectile", "Lq", "MAPE", "LogLinQuantile",
            "YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise", "QueryRMSE", "QuerySoftMax",
            "LambdaMart", "StochasticRank", "StochasticFilter", "QueryCrossEntropy",
        ),
        "identity",
    ),
}  # fmt: skip
"""Objective -> what turns the sum of leaves into an answer, as the model's own class answers."""


class CatboostModel(Protocol):
    """What is asked of CatBoost."""

    def save_model(self, fname: str, format: str) -> None:
        """Write the whole model."""


class _Floats:
    """Columns by CatBoost's number of a float feature, and where a missing value goes.

    Args:
        said: ``features_info`` of the JSON.
    """

    def __init__(self, said: Dump) -> None:
        features = [as_mapping(one) for one in as_list(said.get("float_features", []))]
        self._columns = {int(str(one["feature_index"])): int(str(one["flat_feature_index"])) for one in features}
        # "AsIs" and "AsFalse": nothing is greater than what is missing.
        self._above = {int(str(one["feature_index"])): one["nan_value_treatment"] == "AsTrue" for one in features}

    def node(self, split: Dump, low: int, high: int) -> Node:
        """A split whose rows go to ``high`` where they are above its border.

        Raises:
            NotImplementedError: It asks for a category.
        """
        if split.get("split_type") != "FloatFeature":
            raise NotImplementedError("categorical splits of CatBoost")
        feature = int(str(split["float_feature_index"]))
        border = float(np.float32(str(split["border"])))
        return Node(self._columns[feature], border, low, high, missing_left=not self._above[feature])


def from_catboost(model: CatboostModel) -> Forest:
    """Read a CatBoost model.

    Raises:
        NotImplementedError: Features that are no numbers, a threshold of its own, too large, or another objective.
    """
    with TemporaryDirectory(prefix="catboost-") as place:
        model.save_model(f"{place}/model.json", format="json")
        dump = as_mapping(json.loads((Path(place) / "model.json").read_bytes()))
    said, info = as_mapping(dump["features_info"]), as_mapping(dump["model_info"])
    if set(said) - {"float_features"}:
        raise NotImplementedError(f"{', '.join(sorted(set(said) - {'float_features'}))} of CatBoost")
    if float(str(info.get("binclass_probability_threshold", 0.5))) != 0.5:
        raise NotImplementedError("a probability threshold of CatBoost's own")
    scale, bias = as_list(dump["scale_and_bias"])
    base = tuple(float(str(one)) for one in as_list(bias))
    features, factor = _Floats(said), float(str(scale))
    trees = [
        *(_oblivious(as_mapping(one), features, factor) for one in as_list(dump.get("oblivious_trees", []))),
        *(_grown(as_mapping(one), features, factor) for one in as_list(dump.get("trees", []))),
    ]
    return Forest(
        trees=tuple(_counted(trees)),
        outputs=len(base),
        mode="BRANCH_LEQ",
        narrow=True,
        base=base,
        link=_catboost_link(info),
    )


def _counted(trees: Sequence[tuple[Node, ...] | None]) -> Iterator[tuple[Node, ...]]:
    """The trees, which together must not be too many nodes."""
    left = MAX_NODES
    for tree in trees:
        left -= MAX_NODES + 1 if tree is None else len(tree)
        if left < 0 or tree is None:
            raise NotImplementedError(f"more than {MAX_NODES:,} nodes of CatBoost")
        yield tree


def _oblivious(tree: Dump, features: _Floats, scale: float) -> tuple[Node, ...] | None:
    """A tree of equal levels; the question of the deepest level is the first of the file. None where it is too large.

    A leaf's number has the answer to question ``i`` as its bit ``i``.
    """
    splits = [as_mapping(one) for one in as_list(tree.get("splits") or [])]
    values = [float(str(one)) * scale for one in as_list(tree["leaf_values"])]
    inner, wide = 2 ** len(splits) - 1, len(values) // 2 ** len(splits)
    if inner > MAX_NODES // 2:
        return None
    nodes = []
    for at in range(inner):
        level = (at + 1).bit_length() - 1
        nodes.append(features.node(splits[len(splits) - 1 - level], 2 * at + 1, 2 * at + 2))
    leaves = (values[at : at + wide] for at in range(0, len(values), wide))
    return (*nodes, *(_leaf(one) for one in leaves))


def _grown(root: Dump, features: _Floats, scale: float) -> tuple[Node, ...]:
    """A tree that grew leaf by leaf, as objects inside of objects; read without recursion, however deep it is."""
    nodes: list[Node | None] = [None]
    waiting = [(0, root)]
    while waiting:
        at, one = waiting.pop()
        if "split" not in one:
            value = one["value"]
            given = value if isinstance(value, list) else [value]
            nodes[at] = _leaf([float(str(part)) * scale for part in given])
            continue
        low, high = len(nodes), len(nodes) + 1
        nodes += [None, None]
        nodes[at] = features.node(as_mapping(one["split"]), low, high)
        waiting += [(low, as_mapping(one["left"])), (high, as_mapping(one["right"]))]
    return tuple(node for node in nodes if node is not None)


def _leaf(values: Sequence[float]) -> Node:
    """One number, or one an output."""
    return Node(-1, values[0]) if len(values) == 1 else Node(-1, 0.0, values=tuple(values))


def _catboost_link(info: Mapping[str, object]) -> str:
    """How sums become answers."""
    parameters = info.get("params")
    said = as_mapping(json.loads(parameters) if isinstance(parameters, str) else parameters)
    objective = str(as_mapping(said["loss_function"])["type"])
    if objective not in CATBOOST_LINKS:
        raise NotImplementedError(f"the objective {objective} of CatBoost")
    return CATBOOST_LINKS[objective]
