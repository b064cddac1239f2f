from __future__ import annotations

import math

import msgspec
import pytest

from penstock.records import Exchange, Outcome
from penstock.release.answers import BINS, ScoreReference, error_of, is_valid, score_of


def answered(rows: int = 1, **outputs: list) -> Exchange:
    return Exchange(
        id="r", endpoint="e", release=1, model="m", version=1, variant="stable", share=1.0, key="k", event_time=0.0,
        received_at=0.0, latency_s=0.0, code="ok", rows=rows, inputs={}, outputs=outputs,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outputs", "score"),
    [
        ({"probabilities": [[0.25, 0.75]], "label": [1]}, 0.75),
        ({"probabilities": [[0.0, 0.5, 0.5]]}, 1.5),
        ({"scores": [2.5]}, 2.5),
        ({"prediction": [[7.0]]}, 7.0),
        ({"label": ["late"]}, "late"),
        ({"probabilities": [[math.nan, 0.5]]}, None),
        ({"prediction": []}, None),
        ({}, None),
    ],
)
def test_a_score_is_how_high_a_row_stands(outputs: dict, score: float | str | None) -> None:
    assert score_of(answered(**outputs)) == score


@pytest.mark.parametrize(
    "outputs",
    [
        {"probabilities": [[0.5, math.nan]]},
        {"probabilities": [[1.5, -0.5]]},
        {"probabilities": [[0.2, 0.2]]},
        {"prediction": [math.inf]},
        {"prediction": [1.0, 2.0]},
        {"label": [None]},
        {},
    ],
)
def test_nonsense_is_not_valid(outputs: dict) -> None:
    assert not is_valid(answered(**outputs))


@pytest.mark.parametrize(
    "outputs", [{"probabilities": [[0.5, 0.5]], "label": [1]}, {"prediction": [3.5]}, {"label": ["late"]}]
)
def test_plain_answers_are_valid(outputs: dict) -> None:
    assert is_valid(answered(**outputs))


def test_the_reference_cuts_scores_into_parts_of_equal_frequency() -> None:
    reference = ScoreReference([number / 1000 for number in range(1000)])
    parts = [reference.bin(number / 1000) for number in range(1000)]
    assert {parts.count(part) for part in set(parts)} == {1000 // BINS}
    assert max(parts) < reference.bins
    assert reference.bin(-1e9) == 0


def test_labels_are_their_own_parts() -> None:
    reference = ScoreReference(["late", "on time", None])
    assert len({reference.bin("late"), reference.bin("on time"), reference.bin("never seen")}) == 3
    assert reference.bin("never seen") == reference.bin("nor this")
    assert reference.bin("zzz") < reference.bins


def test_a_reference_may_be_empty_or_constant() -> None:
    assert ScoreReference([None]).bin(0.5) < ScoreReference([None]).bins
    constant = ScoreReference([0.5] * 100)
    assert constant.bin(0.1) != constant.bin(0.5)


@pytest.mark.parametrize(
    ("outputs", "truth", "error"),
    [
        ({"label": [0, 1]}, 1, 0.0),
        ({"label": [0, 1]}, True, 0.0),
        ({"label": [0, 1]}, 0, 1.0),
        ({"label": ["on time", "late"]}, "late", 0.0),
        ({"prediction": [1.0, 4.0]}, 1.5, 2.5),
        ({"prediction": [1.0, 4.0]}, "much", None),
        ({"prediction": [1.0]}, 1.5, None),
    ],
)
def test_how_wrong_a_prediction_was(outputs: dict, truth: object, error: float | None) -> None:
    outcome = Outcome(prediction="r.1", value=truth, at=1.0)  # type: ignore[arg-type]
    assert error_of(msgspec.structs.replace(answered(rows=2), outputs=outputs), outcome) == error
