"""What a model may not do on rows unlike those it knows."""

from __future__ import annotations

from pathlib import Path

import gate_candidates as make
import numpy as np
import pandas as pd
import pytest

from penstock.errors import ModelFailed
from penstock.gate.checks.robustness import RobustnessCheck, RobustnessLimits
from penstock.gate.perturbations import UNSEEN
from penstock.records import Finding


def ask(folder: Path, answer: object) -> dict[str, Finding]:
    frame = make.baskets(600)
    found = RobustnessCheck(RobustnessLimits()).check(make.candidate(folder, {"validation": frame}, answer))
    return {one.title: one for one in found}


def sane(rows: pd.DataFrame) -> np.ndarray:
    return 1 / (1 + np.exp(-(rows["weight"].fillna(10).clip(0, 30) - 10) / 3)).to_numpy()


def test_a_missing_value_that_becomes_a_nan_is_refused(tmp_path: Path) -> None:
    found = ask(tmp_path, lambda rows: np.where(rows["price"].isna(), np.nan, sane(rows)))
    assert found["Does it stay valid when a value is missing?"].outcome == "refuse"
    assert "price" in found["Does it stay valid when a value is missing?"].message


def test_a_probability_past_one_out_of_range_is_refused(tmp_path: Path) -> None:
    found = ask(tmp_path, lambda rows: sane(rows) * np.maximum(1, rows["items"].to_numpy() / 20) ** 2)
    refused = found["Does it stay valid on numbers out of range?"]
    assert refused.outcome == "refuse"
    assert "items" in refused.message
    assert refused.blocking


def test_raising_on_unseen_text_is_told_and_does_not_block(tmp_path: Path) -> None:
    def answer(rows: pd.DataFrame) -> np.ndarray:
        if (rows["shop"] == UNSEEN).any():
            raise ModelFailed("unknown category")
        return sane(rows)

    found = ask(tmp_path, answer)
    assert found["Does it stay valid on text it has never seen?"].outcome == "pass"
    refusals = found["Does it answer every row of the right type?"]
    assert (refusals.outcome, refusals.blocking) == ("refuse", False)
    assert "handle_unknown" in refusals.remedy


def test_the_column_that_it_needs_most_is_named(tmp_path: Path) -> None:
    found = ask(tmp_path, sane)["Does it do without any one column?"]
    assert found.measured["worst_column"] == "weight"
    assert (found.outcome, found.blocking) == ("refuse", False)


@pytest.mark.parametrize(("slope", "outcome"), [(1, "pass"), (4000, "refuse")])
def test_noise_may_not_flip_labels(slope: int, outcome: str, tmp_path: Path) -> None:
    found = ask(tmp_path, lambda rows: np.sin(slope * sane(rows)) / 2 + 0.5)
    assert found["Does a little noise leave its answers alone?"].outcome == outcome
