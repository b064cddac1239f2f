"""What a model may not do on rows unlike those it knows."""

from __future__ import annotations

from pathlib import Path

import gate_candidates as make
import numpy as np
import pandas as pd
import pytest

from penstock.errors import ModelFailed
from penstock.gate.checks.robustness import RobustnessCheck, RobustnessLimits
from penstock.gate.perturbations import UNSEEN, number_inputs, prose_inputs
from penstock.records import Finding
from penstock.tensors import Signature, TensorSpec


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


# -- what people write ---------------------------------------------------------------------------

NOISE, SPACING = "Does a little noise leave its answers alone?", "Do other spaces leave its answers alone?"
SLIP, ODD = "Does a slip of the pen leave its answers alone?", "Does it stay valid on text of every odd kind?"


def ask_of_texts(folder: Path, answer: object) -> dict[str, Finding]:
    """The shop's column holds a sentence each, and most differ."""
    frame = make.baskets(600)
    frame["shop"] = frame["shop"] + " sold goods to " + frame.index.astype(str)
    found = RobustnessCheck(RobustnessLimits()).check(make.candidate(folder, {"validation": frame}, answer))
    return {one.title: one for one in found}


def of_the_first_word(rows: pd.DataFrame) -> np.ndarray:
    return rows["shop"].str.split().str[0].isin(["north", "south"]).to_numpy() * 0.8 + 0.1


def test_texts_are_spaced_otherwise_and_categories_are_not(tmp_path: Path) -> None:
    found = ask_of_texts(tmp_path, of_the_first_word)
    assert (found[SPACING].outcome, found[SPACING].measured["moved"]) == ("pass", 0)
    assert 0 < found[SLIP].measured["moved"] < 0.5
    assert not found[SLIP].blocking
    assert found[ODD].outcome == "pass"
    (tmp_path / "categories").mkdir()
    assert not {SPACING, SLIP, ODD} & set(ask(tmp_path / "categories", sane))


def test_a_model_that_hangs_on_spaces_is_refused(tmp_path: Path) -> None:
    found = ask_of_texts(tmp_path, lambda rows: rows["shop"].str.startswith(("north", "south")).to_numpy() * 0.8 + 0.1)
    assert (found[SPACING].outcome, found[SPACING].blocking) == ("refuse", True)
    assert "spaces" in found[SPACING].remedy


def test_a_text_of_an_odd_kind_needs_an_answer_too(tmp_path: Path) -> None:
    found = ask_of_texts(
        tmp_path, lambda rows: np.where(rows["shop"].str.len() > 1000, np.nan, of_the_first_word(rows))
    )
    assert found[ODD].outcome == "refuse"


def test_no_noise_is_claimed_where_there_are_no_numbers() -> None:
    words = TensorSpec(name="shop", datatype="BYTES", shape=(-1, 1))
    signature = Signature(inputs=(words,), outputs=make.SIGNATURE.outputs)
    assert number_inputs(signature) == ()
    assert number_inputs(make.SIGNATURE) == ("weight", "price", "weather", "items")
    many = np.array([f"{name} of {at}" for at, name in enumerate(["a", "b"] * 10)], object)
    chinese = np.array([f"东京的水很深很清 {at}".replace(" ", "") for at in range(20)], object)
    assert prose_inputs({"shop": many}, signature) == prose_inputs({"shop": chinese}, signature) == ("shop",)
    assert prose_inputs({"shop": np.array(["New York", "Los Angeles"] * 10, object)}, signature) == ()
