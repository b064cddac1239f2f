"""What is a feature, how rows are mixed, which number is meant."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.errors import InvalidInput, PenstockError
from penstock.packages.manifest import FORMAT
from penstock.records import Manifest
from penstock.serve.features import features_of, quantity_of
from penstock.serve.protocol import ANY_AIM, Aim
from penstock.statistics.shapley import MOST_FEATURES
from penstock.tensors import Signature, TensorSpec


def inputs(*shapes: tuple[int, ...], columns: tuple[str, ...] = ()) -> Signature:
    specs = [
        TensorSpec(name=f"x{place}", datatype="FP32", shape=shape, columns=columns)
        for place, shape in enumerate(shapes)
    ]
    return Signature(inputs=tuple(specs), outputs=())


def manifest(*classes: str | int) -> Manifest:
    return Manifest(
        format=FORMAT, name="m", kind="onnx", engine="onnxruntime", entry="model.onnx", task="classification",
        signature=inputs((-1, 2)), files={}, classes=classes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("signature", "names", "whole"),
    [
        (inputs((-1, 3)), ("0", "1", "2"), False),
        (inputs((-1, 2), columns=("age", "income")), ("age", "income"), False),
        (inputs((-1,)), ("x0",), True),
        (inputs((-1, 1)), ("x0",), True),
        (inputs((-1, 1), (-1, 2, 2)), ("x0", "x1"), True),
        (inputs((-1, 2, 2)), ("0", "1", "2", "3"), False),
    ],
)
def test_a_feature_is_an_input_or_a_value_of_the_only_one(
    signature: Signature, names: tuple[str, ...], whole: bool
) -> None:
    assert features_of(signature) == (names, whole)


@pytest.mark.parametrize("shape", [(-1, -1), (3,), (-1, MOST_FEATURES + 1)])
def test_what_cannot_be_explained_is_said(shape: tuple[int, ...]) -> None:
    with pytest.raises(PenstockError) as refused:
        features_of(inputs(shape))
    assert refused.value.code == "serve.unsupported"


def test_whole_inputs_are_mixed() -> None:
    features = features_of(inputs((-1, 1), (-1, 2)))
    row = {"x0": np.array([["a"]], object), "x1": np.array([[1, 2]], np.float32)}
    background = {"x0": np.array([["b"], ["c"]], object), "x1": np.array([[3, 4], [5, np.nan]], np.float32)}
    own = np.array([[True, False], [False, True], [False, False]])
    mixed = features.mixed(row, background, own, np.array([0, 1, 1]))
    assert mixed["x0"].tolist() == [["a"], ["c"], ["c"]]
    np.testing.assert_array_equal(mixed["x1"], np.array([[3, 4], [1, 2], [5, np.nan]], np.float32))
    assert mixed["x0"].dtype == object
    assert mixed["x1"].dtype == np.float32


def test_values_of_one_input_are_mixed() -> None:
    features = features_of(inputs((-1, 2, 2)))
    mixed = features.mixed(
        {"x0": np.array([[[1, 2], [3, 4]]])},
        {"x0": np.zeros((1, 2, 2), np.int64)},
        np.array([[True, False, False, True]]),
        np.array([0]),
    )
    assert mixed["x0"].tolist() == [[[1, 0], [0, 4]]]


def test_the_class_that_was_answered_is_meant_whatever_is_most_likely() -> None:
    """A release's thresholds may answer another class than the likeliest."""
    outputs = {"label": np.array(["no", "yes"], object), "probabilities": np.array([[0.2, 0.8], [0.3, 0.7]])}
    target = quantity_of(manifest("no", "yes"), outputs, ANY_AIM)
    assert target.labels == ("no", "yes")
    assert [target.read(outputs, row)[row] for row in range(2)] == [0.2, 0.7]


def test_a_classifier_without_probabilities_is_explained_by_its_label() -> None:
    outputs = {"label": np.array([1, 0, 1])}
    target = quantity_of(manifest(0, 1), outputs, ANY_AIM)
    assert target.labels == ("1", "0", "1")
    assert target.read(outputs, 1).tolist() == [0, 1, 0]
    assert quantity_of(manifest(0, 1), outputs, Aim(label="0")).read(outputs, 0).tolist() == [0, 1, 0]


def test_without_labels_the_largest_value_is_meant() -> None:
    outputs = {"scores": np.array([[1.0, 3.0], [2.0, 0.0]], np.float32)}
    assert quantity_of(manifest(), outputs, ANY_AIM).labels == ("1", "0")
    assert quantity_of(manifest(), {"n": np.array([3])}, ANY_AIM).labels == ()


@pytest.mark.parametrize(
    ("outputs", "aim", "where"),
    [
        ({"y": np.array([1.0])}, Aim(output="z"), "parameters.output"),
        ({"y": np.array([1.0])}, Aim(label="1"), "parameters.class"),
        ({"y": np.array([[1.0, 2.0]])}, Aim(label="2"), "parameters.class"),
        ({"label": np.array(["a"], object)}, Aim(label="c"), "parameters.class"),
    ],
)
def test_what_is_not_there_is_refused(outputs: dict[str, np.ndarray], aim: Aim, where: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        quantity_of(manifest("a", "b"), outputs, aim)
    assert refused.value.where == where
