"""Engine outputs become answers, and what is wrong with them is said in words."""

from __future__ import annotations

import gate_candidates as make
import msgspec
import numpy as np
import pytest

from penstock.errors import InvalidInput, ModelFailed
from penstock.gate.answers import answer, answers_of, codes_of, fault
from penstock.records import Manifest
from penstock.statistics.metrics import value

CLASSIFIER = Manifest(
    format=1,
    name="m",
    kind="onnx",
    engine="onnxruntime",
    entry="m",
    task="classification",
    classes=("no", "yes"),
    signature=make.SIGNATURE,
    files={},
)
REGRESSOR = msgspec.structs.replace(CLASSIFIER, task="regression", classes=())
TEXT = np.array(["no", "yes", "yes"], object)
SURE = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])


def test_answers_are_codes_beside_the_truth() -> None:
    found = answers_of(CLASSIFIER, np.array(["no", "yes", "no"], object), {"label": TEXT, "probabilities": SURE})
    assert found.truth.tolist() == [0, 1, 0]
    assert found.answer.tolist() == [0, 1, 1]
    assert (found.classes, found.probable) == (2, True)
    assert value("accuracy", found) == pytest.approx(2 / 3)


def test_scores_rank_and_are_no_probabilities() -> None:
    found = answers_of(CLASSIFIER, TEXT, {"label": TEXT, "scores": np.array([-2.0, 1.0, 3.0])})
    assert not found.probable
    assert value("auc", found) == 1.0


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        ((0, 1), np.array([0, 1])),
        ((0, 1), np.array([False, True])),
        ((False, True), np.array([0.0, 1.0])),
        ((0, 1), np.array(["0", "1"], object)),
        (("a", "b"), np.array(["a", "b"], object)),
    ],
)
def test_labels_find_their_class_however_they_are_written(classes: tuple[object, ...], labels: np.ndarray) -> None:
    assert codes_of(msgspec.structs.replace(CLASSIFIER, classes=classes), labels).tolist() == [0, 1]


def test_an_unknown_label_in_the_data_is_the_callers_to_mend() -> None:
    with pytest.raises(InvalidInput, match="1 of 3 rows") as caught:
        answers_of(CLASSIFIER, np.array(["no", "secret", "no"], object), {"label": TEXT})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({}, "label is missing"),
        ({"label": TEXT[:2]}, "2 labels came back for 3 rows"),
        ({"label": np.array(["no", "maybe", "no"], object)}, "1 of 3 labels are none"),
        ({"label": TEXT, "probabilities": np.where(SURE > 0.8, np.nan, SURE)}, "1 of 3 probabilities are not finite"),
        ({"label": TEXT, "probabilities": SURE * 2}, "3 of 3 rows have a probability outside"),
        ({"label": TEXT, "probabilities": SURE * 0.5}, "do not add to 1"),
        ({"label": TEXT, "scores": np.array([1.0, np.inf, 0.0])}, "1 of 3 scores are not finite"),
    ],
)
def test_invalid_answers_are_named(outputs: dict[str, np.ndarray], said: str) -> None:
    outputs = {name: np.clip(array, 0, 1.8) if name == "probabilities" else array for name, array in outputs.items()}
    assert said in fault(CLASSIFIER, outputs, 3)
    with pytest.raises(ModelFailed):
        answers_of(CLASSIFIER, TEXT, outputs)


def test_a_regression_answers_numbers() -> None:
    found = answers_of(REGRESSOR, np.array([1, 2, 3]), {"prediction": np.array([[1.0], [2.0], [4.0]])})
    assert value("mae", found) == pytest.approx(1 / 3)
    assert "1 of 2 prediction" in fault(REGRESSOR, {"prediction": np.array([1.0, np.nan])}, 2)
    assert "missing" in fault(REGRESSOR, {"label": np.array([1.0])}, 1)
    with pytest.raises(InvalidInput, match="no number"):
        answers_of(REGRESSOR, TEXT, {"prediction": np.zeros(3)})


def test_many_rows_are_asked_in_chunks() -> None:
    engine = make.FunctionEngine(lambda rows: rows["weight"].to_numpy() / len(rows))
    found = answer(engine, {"weight": np.ones((5000, 1))})
    assert len(found["label"]) == 5000
    assert np.unique(found["probabilities"][:, 1]).tolist() == pytest.approx([1 / 4096, 1 / 904])
