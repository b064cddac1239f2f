"""What skl2onnx has to be told: how estimators of LightGBM, XGBoost and CatBoost become nodes of a pipeline's graph.

It keeps one table for the whole process, so this file is imported by `penstock.build.compile` for its effect on
that table alone, in the sandbox. A booster without a pipeline needs no skl2onnx: `forest_graph` writes it alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import Int64TensorType, guess_tensor_type
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)

from penstock.build.trees.forest import Forest, forest_of
from penstock.build.trees.forest_nodes import label_nodes, nodes_of
from penstock.build.trees.oblivious import from_catboost
from penstock.runtime.catboosters import is_catboost
from penstock.runtime.original import is_classifier

OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}
FAMILIES = {
    "lightgbm": ("LGBMClassifier", "LGBMRegressor", "LGBMRanker"),
    "xgboost": ("XGBClassifier", "XGBRegressor", "XGBRanker"),
    "catboost": ("CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"),
}
ML_VERSION = 3


class _Variable(Protocol):
    """skl2onnx's name for an edge of the graph."""

    full_name: str
    type: object


class _Operator(Protocol):
    """skl2onnx's name for an estimator in the graph."""

    raw_operator: object
    inputs: list[_Variable]
    outputs: list[_Variable]


class _Scope(Protocol):
    """skl2onnx's names in the making."""

    def declare_local_operator(self, alias: str, model: object) -> _Operator:
        """A new estimator in the graph."""

    def declare_local_variable(self, name: str, kind: object) -> _Variable:
        """A new edge."""


class _Container(Protocol):
    """skl2onnx's graph in the making."""

    nodes: list[NodeProto]
    node_domain_version_pair_sets: set[tuple[str, int]]


def register() -> None:
    """Tell skl2onnx of the families whose library is loaded; unpickling has loaded it where it is needed."""
    for library, names in FAMILIES.items():
        for name in names:
            known = getattr(sys.modules.get(library), name, None)
            if known is not None:
                _register(known, name)


def forest_graph(estimator: object, width: int, rows: str, element: int) -> ModelProto:
    """A graph of one matrix for an estimator that is nothing but boosted trees.

    Args:
        estimator: The booster or its scikit-learn face.
        width: Columns.
        rows: Name of the input.
        element: Its type.
    """
    nodes = list(_nodes(estimator, rows, ["model_label", "model_answer"]))
    names = ["model_label", "model_answer"] if is_classifier(estimator) else ["model_answer"]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(rows, element, [None, width])],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in names],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)])


def _register(estimator: type, name: str) -> None:
    """One class."""
    classifies = name.endswith("Classifier")
    update_registered_converter(
        estimator,
        f"Penstock{name}",
        calculate_linear_classifier_output_shapes if classifies else calculate_linear_regressor_output_shapes,
        _convert,
        options=OPTIONS if classifies else None,
        parser=_parse_classifier if classifies and name.startswith("CatBoost") else None,
        overwrite=True,
    )


def _parse_classifier(
    scope: _Scope, model: object, inputs: list[_Variable], custom_parsers: object = None
) -> list[_Variable]:
    """skl2onnx's call for a classifier that it does not take for one: it has a label and probabilities all the same."""
    del custom_parsers
    operator = scope.declare_local_operator(f"Penstock{type(model).__name__}", model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
    operator.outputs.append(scope.declare_local_variable("probabilities", guess_tensor_type(inputs[0].type)))
    return operator.outputs


def _convert(scope: object, operator: _Operator, container: _Container) -> None:
    """skl2onnx's call: append the nodes of one estimator."""
    del scope
    names = [variable.full_name for variable in operator.outputs]
    container.nodes.extend(_nodes(operator.raw_operator, operator.inputs[0].full_name, ["", *names][-2:]))
    container.node_domain_version_pair_sets.update({("ai.onnx.ml", ML_VERSION), ("", 13)})


def _nodes(estimator: object, rows: str, outputs: Sequence[str]) -> Iterator[NodeProto]:
    """Nodes of an estimator: the answer, and of a classifier the label."""
    label, answer = outputs
    yield from nodes_of(_forest(estimator), rows, answer)
    if is_classifier(estimator):
        classes = estimator.classes_  # type: ignore[attr-defined]
        yield from label_nodes(answer, label, np.asarray(classes).tolist())


def _forest(estimator: object) -> Forest:
    """The trees of whichever library grew them."""
    return from_catboost(estimator) if is_catboost(estimator) else forest_of(estimator)  # type: ignore[arg-type]
