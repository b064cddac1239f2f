"""Every way in which a holdout can flatter, one at a time."""

from __future__ import annotations

from pathlib import Path

import gate_candidates as make
import msgspec
import numpy as np
import pandas as pd
import pytest

from penstock.gate.check import Candidate
from penstock.gate.checks.generalization import GeneralizationCheck, GeneralizationLimits
from penstock.gate.data import Columns
from penstock.records import Dataset, Finding


def ask(candidate: Candidate, **limits: object) -> dict[str, Finding]:
    found = GeneralizationCheck(msgspec.structs.replace(GeneralizationLimits(), **limits)).check(candidate)
    return {one.title: one for one in found}


def given(folder: Path, columns: Columns | None = None, **parts: pd.DataFrame) -> Candidate:
    answer = make.probabilities(make.logistic(next(iter(parts.values()))))
    return make.candidate(folder, parts, answer, columns=columns or make.LABELLED)


def test_the_same_file_twice_is_refused_by_its_digest(tmp_path: Path) -> None:
    train, validation = make.by_day(make.baskets(1000))
    candidate = given(tmp_path, train=train, validation=validation)
    twice = [Dataset(name=role, digest="sha256:aa", rows=9, role=role) for role in ("train", "validation")]
    data = GateDataWith(candidate, tuple(twice))
    (finding,) = ask(data).values()
    assert finding.outcome == "refuse"
    assert "same digest" in finding.message


def GateDataWith(candidate: Candidate, datasets: tuple[Dataset, ...]) -> Candidate:
    fields = {name: getattr(candidate.data, name) for name in ("train", "validation", "time_name", "group_name")}
    return Candidate(
        package=candidate.package, engine=candidate.engine, data=type(candidate.data)(**fields, datasets=datasets)
    )


def test_without_a_time_it_says_that_nothing_was_shown(tmp_path: Path) -> None:
    train, validation = make.by_day(make.baskets(1000))
    found = ask(given(tmp_path, train=train, validation=validation))["Is the holdout honest?"]
    assert (found.outcome, found.blocking) == ("unknown", False)
    assert "--time" in found.remedy


def test_a_group_leaks_as_a_day_does(tmp_path: Path) -> None:
    """Customers with a taste of their own, known by their weather column, in both files."""
    frame = make.baskets(4000)
    who = np.random.default_rng(1).integers(80, size=4000)
    taste = np.random.default_rng(2).normal(size=80) * 3
    frame["customer"], frame["weather"] = who.astype(str), who + 0.5
    frame["late"] = (np.random.default_rng(3).random(4000) < 1 / (1 + np.exp(-taste[who]))).astype(int)
    columns = Columns(label="late", group="customer")
    train, validation = make.by_row(frame)
    mixed = ask(given(tmp_path / "mixed", columns, train=train, validation=validation))
    assert mixed["Is the holdout honest by group (customer)?"].outcome == "refuse"
    held = who % 4 == 0
    apart = ask(given(tmp_path / "apart", columns, train=frame[~held], validation=frame[held]))
    assert apart["Is the holdout honest by group (customer)?"].outcome == "pass"


def test_shared_days_without_an_effect_pass(tmp_path: Path) -> None:
    train, validation = make.by_row(make.baskets(5000, luck=0.0))
    columns = Columns(label="late", time="day")
    found = ask(given(tmp_path, columns, train=train, validation=validation))["Is the holdout honest in time (day)?"]
    assert found.outcome == "pass", found.message
    assert found.measured["overlap"] == 1.0


def test_a_model_that_learnt_by_heart_is_refused(tmp_path: Path) -> None:
    train, validation = make.by_day(make.baskets(3000))
    known = dict(zip(train["price"], train["late"], strict=True))

    def recite(rows: pd.DataFrame) -> np.ndarray:
        return np.array([known.get(price, 0.5) for price in rows["price"]], dtype=float)

    candidate = make.candidate(tmp_path, {"train": train, "validation": validation}, recite)
    found = ask(candidate)["Does it hold on rows that it was not trained on?"]
    assert found.outcome == "refuse"
    assert found.measured["train"] == 1.0


def test_a_fall_on_the_test_rows_is_refused(tmp_path: Path) -> None:
    frame = make.baskets(6000)
    other = frame.tail(3000).assign(late=np.random.default_rng(1).integers(0, 2, size=3000))
    candidate = given(tmp_path, train=frame.head(1500), validation=frame[1500:3000], test=other)
    found = ask(candidate)["Does it hold on the test rows?"]
    assert found.outcome == "refuse"


@pytest.mark.parametrize("copied", [0.0, 0.5, 1.0])
def test_rows_of_the_train_file_are_found_in_the_holdout(copied: float, tmp_path: Path) -> None:
    """A model that recites what it has seen, and a holdout of which a part has been seen."""
    train, validation = make.by_day(make.baskets(3000))
    known = dict(zip(train["price"].round(9), train["late"], strict=True))
    count = int(copied * len(validation))
    validation = pd.concat([train.head(count), validation.tail(len(validation) - count)])

    def recite(rows: pd.DataFrame) -> np.ndarray:
        return np.array([known.get(price, 0.5) for price in rows["price"].round(9)], dtype=float)

    candidate = make.candidate(tmp_path, {"train": train, "validation": validation}, recite)
    found = ask(candidate)["Are the validation rows new to it?"]
    assert found.outcome == ("refuse" if copied else "pass"), found.message


def test_rows_that_repeat_by_nature_are_no_leak(tmp_path: Path) -> None:
    frame = make.baskets(4000).assign(weight=10.0, price=1.0, weather=0.5)
    train, validation = make.by_day(frame)
    found = ask(given(tmp_path, train=train, validation=validation))["Are the validation rows new to it?"]
    assert found.outcome == "pass"
    assert "repeat by nature" in found.message
