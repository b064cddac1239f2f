"""Floors, slices and calibration, each at its limit."""

from __future__ import annotations

from pathlib import Path

import gate_candidates as make
import msgspec
import numpy as np
import pandas as pd
import pytest

from penstock.gate.checks.quality import QualityCheck, QualityLimits
from penstock.records import Finding


def ask(folder: Path, answer: object, frame: pd.DataFrame | None = None, **limits: object) -> dict[str, Finding]:
    candidate = make.candidate(folder, {"validation": make.baskets(3000) if frame is None else frame}, answer)
    found = QualityCheck(msgspec.structs.replace(QualityLimits(), **limits)).check(candidate)
    return {one.title: one for one in found}


def sane(rows: pd.DataFrame) -> np.ndarray:
    return (1 / (1 + np.exp(-(rows["weight"].fillna(10) - 10) / 3 * 1.5))).to_numpy()


@pytest.mark.parametrize(
    ("floors", "outcome"),
    [({"auc": 0.6}, "pass"), ({"auc": 0.95}, "refuse"), ({"log_loss": 0.69}, "pass"), ({"log_loss": 0.2}, "refuse")],
)
def test_a_floor_is_held_with_the_worse_end_of_the_interval(
    floors: dict[str, float], outcome: str, tmp_path: Path
) -> None:
    found = [one for title, one in ask(tmp_path, sane, floors=floors).items() if "floor" in title]
    assert [one.outcome for one in found] == [outcome]


def test_a_floor_inside_the_interval_is_not_shown(tmp_path: Path) -> None:
    value = ask(tmp_path / "a", sane)["Is it better than guessing?"].measured["auc"]
    found = ask(tmp_path / "b", sane, floors={"auc": value})["Does its AUC reach the floor?"]
    assert (found.outcome, found.blocking) == ("unknown", True)


def test_no_better_than_guessing_is_not_shown_and_worse_is_refused(tmp_path: Path) -> None:
    assert ask(tmp_path / "a", lambda rows: 1 - sane(rows))["Is it better than guessing?"].outcome == "refuse"
    dull = ask(tmp_path / "b", lambda rows: np.full(len(rows), 0.4))["Is it better than guessing?"]
    assert dull.outcome == "refuse"


def test_one_class_only_is_not_estimable(tmp_path: Path) -> None:
    frame = make.baskets(500).assign(late=0)
    found = ask(tmp_path, sane, frame)["Is it better than guessing?"]
    assert found.outcome == "unknown"
    assert "one class only" in found.message


def test_probabilities_that_do_not_come_true_are_told(tmp_path: Path) -> None:
    found = ask(tmp_path, lambda rows: sane(rows) * 0.3)["Do its probabilities come true?"]
    assert (found.outcome, found.blocking) == ("refuse", False)
    assert found.evidence["plots"][0]["title"] == "Reliability"


def test_a_slice_gone_wrong_is_named(tmp_path: Path) -> None:
    found = ask(tmp_path, lambda rows: np.where(rows["shop"] == "east", 1 - sane(rows), sane(rows)))
    slices = found["Does it hold in every part of the data?"]
    assert slices.outcome == "refuse"
    assert "shop = east" in slices.message


def test_invalid_answers_stop_the_rest(tmp_path: Path) -> None:
    found = ask(tmp_path, lambda rows: np.full(len(rows), np.nan))
    assert list(found) == ["Does it answer every validation row?"]
    assert next(iter(found.values())).outcome == "refuse"
