"""Every check of the table: silent on a good candidate, loud on its own bad one, unsure on too little, the same twice.

A new check needs one line in `BAD` (the candidate it must refuse) and one in `THIN` (too little evidence for it).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from penstock import adapters
from penstock.gate.check import Candidate, CheckLimits
from penstock.gate.data import Columns
from penstock.records import Finding, decode, encode

_spec = spec_from_file_location("gate_candidates", Path(__file__).parents[1] / "gate" / "candidates.py")
make = module_from_spec(_spec)
_spec.loader.exec_module(make)

CHECKS = list(adapters.TABLE["check"])
Answer = Callable[[pd.DataFrame], np.ndarray]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make.baskets(6000)


@pytest.fixture(scope="module")
def good(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    train, validation = make.by_day(frame)
    answer = make.probabilities(make.logistic(train))
    parts = {"train": train, "validation": validation}
    return make.candidate(tmp_path_factory.mktemp("good"), parts, answer, columns=Columns(label="late", time="day"))


def shuffled(folder: Path, frame: pd.DataFrame) -> Candidate:
    """Its answers have nothing to do with the rows."""
    return make.candidate(folder, {"validation": frame}, lambda rows: hashed(rows["price"]))


def random_holdout(folder: Path, frame: pd.DataFrame) -> Candidate:
    """Days lie in both files, and the model knows a day when it sees one."""
    train, validation = make.by_row(frame)
    answer = make.probabilities(make.boosted(train))
    parts = {"train": train, "validation": validation}
    return make.candidate(folder, parts, answer, columns=Columns(label="late", time="day"))


def on_edge(folder: Path, frame: pd.DataFrame) -> Candidate:
    """It hangs on the last digits of a number."""
    return make.candidate(folder, {"validation": frame}, lambda rows: np.sin(1e4 * rows["weight"].fillna(0)) / 2 + 0.5)


def batch_bound(folder: Path, frame: pd.DataFrame) -> Candidate:
    """It scales a row by the other rows of its request."""
    return make.candidate(folder, {"validation": frame}, lambda rows: rows["weight"].rank(pct=True).to_numpy())


def slow(folder: Path, frame: pd.DataFrame) -> Candidate:
    """A seventh of a second a call, whatever the row."""

    def answer(rows: pd.DataFrame) -> np.ndarray:
        time.sleep(0.15)
        return np.full(len(rows), 0.5)

    return make.candidate(folder, {"validation": frame.head(200)}, answer)


def unlike(folder: Path, frame: pd.DataFrame) -> Candidate:
    """It asks more of one shop than of the others."""

    def answer(rows: pd.DataFrame) -> np.ndarray:
        return 1 / (1 + np.exp(-(rows["weight"].fillna(10) - 10 - 4 * (rows["shop"] == "east")).to_numpy()))

    return make.candidate(folder, {"validation": frame}, answer)


def program_inside(folder: Path, frame: pd.DataFrame) -> Candidate:
    """A program lies beside the model."""
    files = {"model/model.onnx": make.identity_graph(), "model/tool.bin": b"\x7fELF" + bytes(64)}
    return make.candidate(folder, {"validation": frame}, lambda rows: hashed(rows["price"]), files=files)


BAD = {
    "quality": shuffled,
    "generalization": random_holdout,
    "robustness": on_edge,
    "stability": batch_bound,
    "fairness": unlike,
    "latency": slow,
    "scan": program_inside,
}


def few_rows(folder: Path, frame: pd.DataFrame) -> Candidate:
    """Twelve rows."""
    parts = {"train": frame.tail(12), "validation": frame.head(12)}
    return make.candidate(folder, parts, make.probabilities(make.logistic(frame)))


def few_runs(folder: Path, frame: pd.DataFrame) -> Candidate:
    """Too slow for enough runs in the budget, not too slow for the limit."""

    def answer(rows: pd.DataFrame) -> np.ndarray:
        time.sleep(0.025)
        return np.full(len(rows), 0.5)

    return make.candidate(folder, {"validation": frame.head(200)}, answer)


def unknown_file(folder: Path, frame: pd.DataFrame) -> Candidate:
    """A file that is of no kind that anyone knows."""
    files = {"model/model.onnx": make.identity_graph(), "model/extra.bin": bytes(range(128, 256))}
    return make.candidate(folder, {"validation": frame.head(12)}, lambda rows: hashed(rows["price"]), files=files)


THIN = dict.fromkeys(CHECKS, few_rows) | {"latency": few_runs, "scan": unknown_file}
PATIENT = {"latency": {"p50_s": 60.0, "rows_per_s": 1.0}}
HASTY = {"latency": {"budget_s": 0.5}, "fairness": {"columns": ("shop",)}}


def hashed(column: pd.Series) -> np.ndarray:
    """Numbers from 0 to 1 that look random and are the column's own."""
    return (column.to_numpy() * 997.1) % 1


def ask(name: str, candidate: Candidate, **changed: object) -> list[Finding]:
    kind = adapters.load("check", name)
    return kind(msgspec.structs.replace(kind.Limits(), **changed)).check(candidate)


@pytest.mark.parametrize("name", CHECKS)
def test_it_is_silent_on_a_good_candidate(name: str, good: Candidate) -> None:
    # Time on a loaded machine is not what this test asks about.
    patient = {
        "latency": {"p50_s": 10.0, "p99_s": 60.0, "rows_per_s": 1.0, "budget_s": 60.0, "runs": 60},
        "fairness": {"columns": ("price",), "quantiles": 2, "opportunity": 0.2, "odds": 0.2},
    }
    findings = ask(name, good, **patient.get(name, {}))
    assert findings
    assert not [one.message for one in findings if one.blocking and one.outcome != "pass"]


@pytest.mark.parametrize("name", CHECKS)
def test_it_refuses_its_own_bad_candidate(name: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    findings = ask(name, BAD[name](tmp_path, frame), **HASTY.get(name, {}))
    refused = [one for one in findings if one.outcome == "refuse" and one.blocking]
    assert refused
    for finding in refused:
        assert finding.check == name
        assert finding.title.endswith("?")
        assert finding.message.startswith("No")
        assert finding.remedy.endswith(".")


@pytest.mark.parametrize("name", CHECKS)
def test_it_does_not_know_on_too_little(name: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    findings = ask(name, THIN[name](tmp_path, frame), **HASTY.get(name, {}) | PATIENT.get(name, {}))
    assert [one for one in findings if one.outcome == "unknown" and one.blocking]
    assert not [one.message for one in findings if one.outcome == "refuse" and one.blocking]


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "latency"])
def test_it_finds_the_same_twice(name: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    bad = BAD[name](tmp_path, frame.head(2000))
    assert ask(name, bad, **HASTY.get(name, {})) == ask(name, bad, **HASTY.get(name, {}))


@pytest.mark.parametrize("name", CHECKS)
def test_its_findings_travel(name: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    for finding in ask(name, BAD[name](tmp_path, frame.head(2000)), **HASTY.get(name, {})):
        assert decode(encode(finding), Finding) == finding


@pytest.mark.parametrize("name", CHECKS)
def test_its_limits_are_the_policys(name: str) -> None:
    kind = adapters.load("check", name)
    assert issubclass(kind.Limits, CheckLimits)
    assert kind.name == name
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"no_such_limit": 1}, kind.Limits)
