"""Scores and labels: one reading of answers and outcomes, however they were written."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.statistics import answers


@pytest.mark.parametrize("outcome", [True, 1, 1.0, "1", "True"])
def test_a_true_outcome_is_true_however_written(outcome: object) -> None:
    for classes in ((0, 1), (False, True), ("0", "1")):
        assert answers.labels_of([outcome], ["whatever"], classes).tolist() == [1.0]


def test_of_many_classes_the_answered_one_counts() -> None:
    chances = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    assert answers.scores_of({"probabilities": chances, "label": np.array(["b", "a"])}, "abc").tolist() == [0.5, 0.6]
    found = answers.labels_of(["b", "c", None], ["b", "a", "a"], ("a", "b", "c"))
    assert found[:2].tolist() == [1.0, 0.0]
    assert np.isnan(found[2])


def test_hard_answers_score_themselves() -> None:
    assert answers.scores_of({"label": np.array(["yes", "no"])}, ("no", "yes")).tolist() == [1.0, 0.0]
    assert answers.scores_of({"label": np.array(["a", "b"])}, ("a", "b", "c")).tolist() == [1.0, 1.0]


def test_a_regression_is_itself() -> None:
    assert answers.scores_of({"prediction": np.array([[1.5], [2.5]])}).tolist() == [1.5, 2.5]
    assert answers.scores_of({"prediction": [[1.5, 7.0], [2.5, 8.0]]}).tolist() == [1.5, 2.5], "the first of several"
    assert answers.scores_of({"prediction": np.empty((0, 3))}).tolist() == []
    assert answers.labels_of([2, "3.5"], ["", ""]).tolist() == [2.0, 3.5]


def test_matrices_become_columns() -> None:
    found = answers.columns_of({"X": np.arange(6.0).reshape(3, 2), "y": np.arange(3)[:, None]}, {"X": ["a"]})
    assert {name: values.tolist() for name, values in found.items()} == {
        "a": [0, 2, 4],
        "X[1]": [1, 3, 5],
        "y": [0, 1, 2],
    }
