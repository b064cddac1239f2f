"""Metrics against scikit-learn, and what must hold whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as oracle

from penstock.statistics.metrics import METRICS, Answers, fitting, reliability, value


def binary(truth: np.ndarray, score: np.ndarray) -> Answers:
    scores = np.column_stack([1 - score, score])
    return Answers(
        truth=truth.astype(float), answer=(score > 0.5).astype(float), scores=scores, probable=True, classes=2
    )


def multiclass(rows: int, classes: int, seed: int) -> Answers:
    random = np.random.default_rng(seed)
    truth = random.integers(classes, size=rows)
    scores = random.dirichlet(np.ones(classes), size=rows)
    scores[np.arange(rows), truth] += 0.3
    scores /= scores.sum(axis=1, keepdims=True)
    return Answers(
        truth=truth.astype(float), answer=scores.argmax(1).astype(float), scores=scores, probable=True, classes=classes
    )


def regression(rows: int, seed: int) -> Answers:
    random = np.random.default_rng(seed)
    truth = random.normal(100, 3, size=rows)
    return Answers(truth=truth, answer=truth + random.normal(size=rows))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [1, 2, 16])
def test_two_classes_match_scikit_learn(seed: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    score = random.random(400).round(decimals)
    truth = (random.random(400) < score).astype(int)
    weights = random.integers(0, 4, size=400).astype(float)
    answers = binary(truth, score)
    assert METRICS["auc"].statistic(answers)(weights) == pytest.approx(
        oracle.roc_auc_score(truth, score, sample_weight=weights)
    )
    assert METRICS["log_loss"].statistic(answers)(weights) == pytest.approx(
        oracle.log_loss(truth, score, sample_weight=weights)
    )
    assert METRICS["brier"].statistic(answers)(weights) == pytest.approx(
        oracle.brier_score_loss(truth, score, sample_weight=weights)
    )
    assert METRICS["accuracy"].statistic(answers)(weights) == pytest.approx(
        oracle.accuracy_score(truth, score > 0.5, sample_weight=weights)
    )


def test_several_classes_match_scikit_learn() -> None:
    answers = multiclass(600, 4, seed=1)
    assert value("auc", answers) == pytest.approx(
        oracle.roc_auc_score(answers.truth, answers.scores, multi_class="ovr")
    )
    assert value("log_loss", answers) == pytest.approx(oracle.log_loss(answers.truth, answers.scores))
    assert value("brier", answers) == pytest.approx(
        oracle.brier_score_loss(answers.truth, answers.scores, labels=[0, 1, 2, 3])
    )


def test_regression_matches_scikit_learn() -> None:
    answers = regression(300, seed=2)
    assert value("mae", answers) == pytest.approx(oracle.mean_absolute_error(answers.truth, answers.answer))
    assert value("rmse", answers) == pytest.approx(oracle.root_mean_squared_error(answers.truth, answers.answer))
    assert value("r2", answers) == pytest.approx(oracle.r2_score(answers.truth, answers.answer))


@pytest.mark.parametrize("name", ["log_loss", "brier", "accuracy", "rmse", "mae", "r2", "auc"])
def test_the_trivial_figure_is_that_of_the_best_constant_answer(name: str) -> None:
    random = np.random.default_rng(3)
    ones = np.ones(500)
    if name in ("rmse", "mae", "r2"):
        found = regression(500, seed=3)
        constant = np.median(found.truth) if name == "mae" else found.truth.mean()
        dull = Answers(truth=found.truth, answer=np.full(500, constant))
    else:
        truth = (random.random(500) < 0.3).astype(float)
        found, dull = binary(truth, random.random(500)), binary(truth, np.full(500, truth.mean()))
    assert METRICS[name].trivial(found)(ones) == pytest.approx(METRICS[name].statistic(dull)(ones))


def test_calibration_error_is_small_when_calibrated_and_names_the_gap_when_not() -> None:
    random = np.random.default_rng(4)
    score = random.random(20_000)
    truth = (random.random(20_000) < score).astype(int)
    assert value("calibration_error", binary(truth, score)) < 0.02
    shifted = np.clip(score + 0.2, 0, 1)
    bins = np.array(reliability(binary(truth, shifted)))
    assert value("calibration_error", binary(truth, shifted)) == pytest.approx(
        np.average(np.abs(bins[:, 1] - bins[:, 2]), weights=bins[:, 0])
    )
    assert 0.15 < value("calibration_error", binary(truth, shifted)) <= 0.2


def test_reliability_keeps_equal_probabilities_in_one_bin() -> None:
    score = np.repeat([0.1, 0.9], 500)
    truth = np.tile([0, 1], 500)
    bins = reliability(binary(truth, score))
    assert [found.rows for found in bins] == [500, 500]
    assert [found.said for found in bins] == pytest.approx([0.1, 0.9])


@pytest.mark.parametrize("truth", [np.zeros(50), np.ones(50), np.zeros(0)])
def test_one_class_or_no_rows_give_no_auc(truth: np.ndarray) -> None:
    assert value("auc", binary(truth, np.linspace(0, 1, len(truth)))) is None


def test_a_constant_truth_gives_no_r2() -> None:
    assert value("r2", Answers(truth=np.ones(10), answer=np.zeros(10))) is None


def test_fitting_names_only_what_the_answers_can_give() -> None:
    whole = multiclass(50, 3, seed=5)
    named = Answers(truth=whole.truth, answer=whole.answer, classes=3)
    ranked = Answers(truth=whole.truth, answer=whole.answer, scores=whole.scores, classes=3)
    assert [metric.name for metric in fitting(named)] == ["accuracy"]
    assert [metric.name for metric in fitting(ranked)] == ["auc", "accuracy"]
    assert fitting(whole)[0].name == "auc"
    assert fitting(regression(10, seed=6))[0].name == "r2"
    for answers in (whole, named, ranked, regression(10, seed=6)):
        assert all(value(metric.name, answers) is not None for metric in fitting(answers))


scores = arrays(float, st.integers(2, 60), elements=st.floats(0, 1, width=16))


@settings(max_examples=60, deadline=None)
@given(scores, st.integers(0, 2**32 - 1))
def test_auc_depends_on_order_alone_and_is_symmetric(score: np.ndarray, seed: int) -> None:
    truth = np.random.default_rng(seed).integers(0, 2, size=len(score))
    found = value("auc", binary(truth, score))
    if found is None:
        assert len(np.unique(truth)) == 1
        return
    assert 0 <= found <= 1
    assert found == pytest.approx(value("auc", binary(truth, score**3 / 2 + score / 2)))
    assert found == pytest.approx(1 - value("auc", binary(1 - truth, score)))
    order = np.random.default_rng(seed).permutation(len(score))
    assert found == pytest.approx(value("auc", binary(truth[order], score[order])))


@settings(max_examples=60, deadline=None)
@given(scores, st.integers(0, 2**32 - 1))
def test_weights_are_repetitions(score: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, counts = random.integers(0, 2, size=len(score)), random.integers(0, 3, size=len(score))
    answers = binary(truth, score)
    repeated = answers.take(np.repeat(np.arange(len(score)), counts))
    for name in ("auc", "accuracy", "log_loss", "brier"):
        weighted = METRICS[name].statistic(answers)(counts.astype(float))
        plain = value(name, repeated)
        assert np.isnan(weighted) if plain is None else weighted == pytest.approx(plain)


@settings(max_examples=60, deadline=None)
@given(scores, st.integers(0, 2**32 - 1))
def test_every_metric_stays_in_its_range(score: np.ndarray, seed: int) -> None:
    truth = np.random.default_rng(seed).integers(0, 2, size=len(score))
    for name in ("auc", "accuracy", "log_loss", "brier", "calibration_error"):
        found = value(name, binary(truth, score))
        assert found is None or METRICS[name].low <= found <= METRICS[name].high
