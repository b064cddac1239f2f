"""Boosted trees as numbers, whoever grew them: read from LightGBM and XGBoost (`.oblivious`: CatBoost).

What comes in: a booster. What goes out: a `Forest`, which `penstock.build.trees.forest_nodes` writes as ONNX.
onnxmltools has converters for both, but rounds thresholds to floats; a row next to one then takes the other branch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol, cast

import msgspec
import numpy as np

Dump = Mapping[str, object]

ZERO = float(np.float32(1e-35))
"""LightGBM reads what is no further from 0 than this as 0, so the value itself is not left of minus this."""

LINKS = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "multiclass": "softmax",
    "multiclassova": "sigmoids",
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    "binary:logistic": "sigmoid",
    "binary:logitraw": "sigmoid",
    "reg:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "multi:softmax": "softmax",
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    **dict.fromkeys(("lambdarank", "rank_xendcg", "rank:pairwise", "rank:ndcg", "rank:map"), "identity"),
}
"""Objective -> what turns the sum of leaves into an answer."""


class Node(msgspec.Struct, frozen=True):
    """One node; `feature` is -1 for a leaf, whose answer `value` then is, or `values`, one an output."""

    feature: int
    value: float
    left: int = 0
    right: int = 0
    missing_left: bool = False
    values: tuple[float, ...] = ()


class Forest(msgspec.Struct, frozen=True, kw_only=True):
    """Trees, and how their leaves become an answer.

    Attributes:
        trees: Nodes by tree; tree ``i`` adds to output ``i % outputs``, or to all where its leaves have `Node.values`.
        outputs: Sums per row.
        mode: ``BRANCH_LEQ`` (LightGBM) or ``BRANCH_LT`` (XGBoost): when a row goes left.
        narrow: Rows are rounded to float32 before they are compared.
        base: Added to each output.
        link: A value of `LINKS`, or ``sigmoids``: one an output.
        scale: Factor inside of the link.
    """

    trees: tuple[tuple[Node, ...], ...]
    outputs: int
    mode: str
    narrow: bool
    base: tuple[float, ...]
    link: str
    scale: float = 1.0


class LightgbmBooster(Protocol):
    """What is asked of LightGBM."""

    def dump_model(self) -> dict[str, object]:
        """The whole model as a dictionary."""


class XgboostBooster(Protocol):
    """What is asked of XGBoost."""

    def save_raw(self, raw_format: str) -> bytearray:
        """The whole model as JSON."""


def forest_of(estimator: object) -> Forest:
    """The forest inside of a booster or its scikit-learn face.

    Raises:
        NotImplementedError: It does what ONNX's tree operators cannot say.
    """
    if hasattr(estimator, "get_booster"):
        return from_xgboost(estimator.get_booster())
    booster = getattr(estimator, "booster_", None) or getattr(estimator, "booster", None)
    if hasattr(booster, "dump_model") and hasattr(booster, "feature_importance"):
        return from_lightgbm(cast(LightgbmBooster, booster))
    if hasattr(booster, "save_raw"):
        return from_xgboost(cast(XgboostBooster, booster))
    raise NotImplementedError(f"{type(estimator).__name__} holds no booster that is known")


# -- LightGBM ------------------------------------------------------------------------------------


def from_lightgbm(booster: LightgbmBooster) -> Forest:
    """Read a LightGBM booster.

    Raises:
        NotImplementedError: Categorical splits, linear leaves, zero as missing, or another objective.
    """
    dump = booster.dump_model()
    objective = str(dump.get("objective", "regression")).split()
    trees = [tuple(_lightgbm_tree(as_mapping(as_mapping(one)["tree_structure"]))) for one in as_list(dump["tree_info"])]
    outputs = int(str(dump["num_tree_per_iteration"]))
    settings = dict(word.split(":", 1) for word in objective[1:] if ":" in word)
    averaged = max(len(trees) // outputs, 1) if dump.get("average_output") else 1  # boosting_type="rf"
    return Forest(
        trees=tuple(trees),
        outputs=outputs,
        mode="BRANCH_LEQ",
        narrow=False,
        base=(0.0,) * outputs,
        link=_link(objective[0] if "sqrt" not in objective else "sqrt"),
        scale=(float(settings.get("sigmoid", 1.0)) if objective[0] in ("binary", "multiclassova") else 1.0) / averaged,
    )


def _lightgbm_tree(root: Dump) -> list[Node]:
    """Nodes in the order in which they are met, the root first."""
    nodes: list[Node | None] = []

    def place(node: Dump) -> int:
        at = len(nodes)
        nodes.append(None)
        if "leaf_value" in node:
            nodes[at] = Node(-1, float(str(node["leaf_value"])))
            return at
        threshold, missing_left = _lightgbm_split(node)
        left, right = place(as_mapping(node["left_child"])), place(as_mapping(node["right_child"]))
        nodes[at] = Node(int(str(node["split_feature"])), threshold, left, right, missing_left)
        return at

    place(root)
    return [node for node in nodes if node is not None]


def _lightgbm_split(node: Dump) -> tuple[float, bool]:
    """Threshold, and where a missing value goes: LightGBM reads it as 0 where training saw none."""
    if node["decision_type"] != "<=":
        raise NotImplementedError("categorical splits of LightGBM")
    if node["missing_type"] == "Zero":
        raise NotImplementedError("zero as missing in LightGBM")
    if "leaf_coeff" in node:
        raise NotImplementedError("linear leaves of LightGBM")
    threshold = float(str(node["threshold"]))
    if threshold == -ZERO:
        threshold = float(np.nextafter(threshold, -np.inf))
    if node["missing_type"] == "None":
        return threshold, threshold >= 0.0
    return threshold, bool(node["default_left"])


# -- XGBoost -------------------------------------------------------------------------------------


def from_xgboost(booster: XgboostBooster) -> Forest:
    """Read an XGBoost booster.

    Raises:
        NotImplementedError: Categorical splits, weighted trees (DART), linear boosters, or another objective.
    """
    learner = as_mapping(json.loads(bytes(booster.save_raw("json")))["learner"])
    gradient = as_mapping(learner["gradient_booster"])
    if gradient["name"] != "gbtree":
        raise NotImplementedError(f"XGBoost's {gradient['name']}")
    model = as_mapping(gradient["model"])
    parameters = as_mapping(learner["learner_model_param"])
    outputs = max(1, int(str(parameters["num_class"])), int(str(parameters.get("num_target", "1"))))
    objective = str(as_mapping(learner["objective"])["name"])
    link = _link(objective)
    given = "identity" if objective == "binary:logitraw" else link  # whose base score is before the link as well
    places = [int(str(one)) for one in as_list(model["tree_info"])]
    if places != [at % outputs for at in range(len(places))]:
        raise NotImplementedError("XGBoost's parallel trees of several classes")
    return Forest(
        trees=tuple(_xgboost_tree(as_mapping(tree)) for tree in as_list(model["trees"])),
        outputs=outputs,
        mode="BRANCH_LT",
        narrow=True,
        base=tuple(_margin(one, given) for one in _base_scores(str(parameters["base_score"]), outputs)),
        link=link,
    )


def _xgboost_tree(tree: Dump) -> tuple[Node, ...]:
    """Nodes by number."""
    if as_list(tree.get("categories", [])):
        raise NotImplementedError("categorical splits of XGBoost")
    rows = zip(
        as_list(tree["split_indices"]),
        as_list(tree["split_conditions"]),
        as_list(tree["left_children"]),
        as_list(tree["right_children"]),
        as_list(tree["default_left"]),
        strict=True,
    )
    return tuple(
        # The file has the shortest decimals that give the float back; as doubles they are other numbers.
        Node(-1, float(np.float32(str(value))))
        if left == -1
        else Node(int(str(feature)), float(np.float32(str(value))), int(str(left)), int(str(right)), bool(missing))
        for feature, value, left, right, missing in rows
    )


def _base_scores(text: str, outputs: int) -> list[float]:
    """``5E-1`` of older files, ``[5E-1,...]`` of newer ones."""
    scores = [float(one) for one in text.strip("[]").split(",")]
    return scores if len(scores) == outputs else scores[:1] * outputs


def _margin(score: float, link: str) -> float:
    """A base score before the link."""
    if link == "sigmoid":
        return float(np.log(score / (1 - score)))
    return float(np.log(score)) if link == "exp" else score


def _link(objective: str) -> str:
    """How sums become answers."""
    if objective not in LINKS:
        raise NotImplementedError(f"the objective {objective}")
    return LINKS[objective]


def as_mapping(value: object) -> Dump:
    """A part of a dump that has to be a dictionary."""
    if not isinstance(value, Mapping):
        raise NotImplementedError("an unknown form of the booster's file")
    return value


def as_list(value: object) -> list[object]:
    """A part of a dump that has to be a list."""
    if not isinstance(value, list):
        raise NotImplementedError("an unknown form of the booster's file")
    return value
