"""A model that treats a group otherwise is refused with the group's name; what is too small is not judged."""

from __future__ import annotations

import re
from pathlib import Path

import gate_candidates as make
import msgspec
import numpy as np
import pandas as pd
import pytest

from penstock.errors import BadConfig
from penstock.gate.check import Candidate, LabelledRows
from penstock.gate.checks.fairness import FairnessCheck, FairnessLimits
from penstock.gate.data import Columns, gate_data
from penstock.gate.groups import Cutting, grouping_of
from penstock.gate.plots import bars
from penstock.gate.policy import parse_policy, plain, starter
from penstock.gate.run import run
from penstock.records import Finding
from penstock.tensors import Arrays, Signature, TensorSpec

BESIDE = Columns(label="late", beside=("sex", "age"))
SELECTED, OPPORTUNITY, ODDS = (
    f"Are the groups of sex {words}?"
    for words in ("selected alike (four-fifths rule)", "given equal opportunity", "given equalized odds")
)


def people(rows: int = 6000, seed: int = 0) -> pd.DataFrame:
    """Baskets of people; what they are has nothing to do with what is true of them."""
    random = np.random.default_rng(seed)
    sex = np.array(["F", "M"])[random.integers(2, size=rows)]
    return make.baskets(rows, luck=0.0, seed=seed).assign(sex=sex, age=random.integers(18, 80, size=rows))


def fair(rows: pd.DataFrame) -> np.ndarray:
    return (1 / (1 + np.exp(-1.5 * ((rows["weight"] - 10) / 3 + (rows["shop"] == "north") - 0.5)))).to_numpy()


def ask(folder: Path, frame: pd.DataFrame, answer: object = fair, **limits: object) -> dict[str, Finding]:
    asked = msgspec.structs.replace(FairnessLimits(columns=("sex",)), **limits)
    candidate = make.candidate(folder, {"validation": frame}, answer, columns=BESIDE)
    return {one.title: one for one in FairnessCheck(asked).check(candidate)}


def harming(share: float, group: np.ndarray) -> object:
    """The fair model, which says no to a share of the group whatever they are; it must see the rows in order."""

    def answer(rows: pd.DataFrame) -> np.ndarray:
        hit = (np.random.default_rng(9).random(len(group)) < share) & group
        return np.where(hit[: len(rows)], 0.01, fair(rows)) if len(rows) == len(group) else fair(rows)

    return answer


def whole(frame: pd.DataFrame) -> pd.DataFrame:
    """As many rows as the gate asks at once."""
    return frame.head(4000)


def test_a_model_that_treats_groups_alike_passes(tmp_path: Path) -> None:
    found = ask(tmp_path, people())
    assert [one.outcome for one in found.values() if one.blocking] == []
    assert found[SELECTED].outcome == found[OPPORTUNITY].outcome == found[ODDS].outcome == "pass"


def test_shares_are_drawn_from_0_to_1_that_little_looks_little(tmp_path: Path) -> None:
    found = ask(tmp_path, people())[SELECTED]
    (plot,) = found.evidence["plots"]
    widths = [re.search(r'class="pale" x="([\d.]+)"[^>]*width="([\d.]+)"', one.drawing) for one in bars(plot)]
    for row, drawn in zip(plot["rows"], widths, strict=True):
        assert drawn is not None
        assert float(drawn[1]) == pytest.approx(100 * row["low"], abs=0.1)
        assert float(drawn[2]) == pytest.approx(100 * (row["high"] - row["low"]), abs=0.1)


def test_a_group_that_is_harmed_is_named_with_figures(tmp_path: Path) -> None:
    frame = whole(people())
    found = ask(tmp_path, frame, harming(0.5, (frame["sex"] == "F").to_numpy()))
    assert found[SELECTED].outcome == found[OPPORTUNITY].outcome == "refuse"
    refused = found[SELECTED]
    assert refused.blocking
    assert (refused.measured["group"], refused.measured["beside"]) == ("F", "M")
    assert refused.measured["ratio"] == pytest.approx(0.5, abs=0.1)
    assert refused.measured["high"] < refused.limits["selection"] == 0.8
    assert refused.message.startswith("No: the selection rate of 1 is 0.")
    assert " for F and 0." in refused.message
    assert "sex" in refused.remedy
    (table,) = refused.evidence["tables"]
    assert [row["group"] for row in table["rows"]] == ["F", "M"]
    (plot,) = refused.evidence["plots"]
    assert [row["name"] for row in plot["rows"]] == ["F", "M"]


@pytest.mark.parametrize(("rows", "outcome"), [(300, "unknown"), (4000, "refuse")])
def test_only_what_the_interval_excludes_is_refused(rows: int, outcome: str, tmp_path: Path) -> None:
    frame = people().head(rows)
    found = ask(tmp_path, frame, harming(0.3, (frame["sex"] == "F").to_numpy()), min_rows=20)[SELECTED]
    assert (found.outcome, found.blocking) == (outcome, True)
    assert (found.measured["high"] < 0.8) == (outcome == "refuse")


def test_rows_of_one_unit_are_no_evidence_of_their_own(tmp_path: Path) -> None:
    """A hundred copies of 40 people tell what 40 people tell."""
    few = people().head(40)
    frame = whole(pd.concat([few.assign(customer=[f"c{place}" for place in range(40)])] * 100))
    answer = harming(0.0, (frame["sex"] == "F").to_numpy())
    for group, outcomes in (("", {"pass", "refuse"}), ("customer", {"unknown"})):
        columns = Columns(label="late", group=group, beside=("sex",))
        candidate = make.candidate(tmp_path / f"x{group}", {"validation": frame}, answer, columns=columns)
        found = {one.title: one for one in FairnessCheck(FairnessLimits(columns=("sex",))).check(candidate)}
        assert found[SELECTED].outcome in outcomes


def test_small_groups_are_named_and_not_judged(tmp_path: Path) -> None:
    frame = people()
    frame.loc[:9, "sex"] = "X"
    frame.loc[10:12, "sex"] = None
    found = ask(tmp_path, frame)[SELECTED]
    assert found.outcome == "pass"
    assert "Too few rows to judge (under 50): X (10), (missing) (3)." in found.message
    alone = ask(tmp_path / "b", frame.assign(sex="M"))["Does it treat the groups of sex alike?"]
    assert (alone.outcome, alone.blocking) == ("unknown", True)


def test_numbers_are_cut_into_bands_or_quantiles(tmp_path: Path) -> None:
    banded = ask(tmp_path / "a", people(), columns=("age",), bands={"age": (30, 60)}, advisory=())
    (table,) = banded["Are the groups of age selected alike (four-fifths rule)?"].evidence["tables"]
    assert [row["group"] for row in table["rows"]] == ["30 to under 60", "60 and over", "under 30"]
    assert sum(row["rows"] for row in table["rows"]) == 6000
    cut = ask(tmp_path / "b", people(), columns=("age",), quantiles=3)
    (table,) = cut["Are the groups of age selected alike (four-fifths rule)?"].evidence["tables"]
    assert [1800 < row["rows"] < 2200 for row in table["rows"]] == [True] * 3


def test_mixtures_show_what_columns_alone_hide(tmp_path: Path) -> None:
    """Each of sex and age is answered alike; young women and old men are not."""
    frame = whole(people())
    young = (frame["age"] < 50).to_numpy()
    hit = young == (frame["sex"] == "F").to_numpy()
    limits = {"columns": ("sex", "age"), "bands": {"age": (50,)}}
    found = ask(tmp_path, frame, harming(0.6, hit), intersections=True, **limits)
    assert found[SELECTED].outcome == "pass"
    mixed = found["Are the groups of sex and age selected alike (four-fifths rule)?"]
    assert mixed.outcome == "refuse"
    assert mixed.measured["group"] in ("F, under 50", "M, 50 and over")


def test_probabilities_that_come_true_for_one_group_alone_are_told(tmp_path: Path) -> None:
    frame = whole(people())
    woman = (frame["sex"] == "F").to_numpy()

    def answer(rows: pd.DataFrame) -> np.ndarray:
        return np.clip(fair(rows) + np.where(woman[: len(rows)], 0.2, 0.0) * (len(rows) == len(woman)), 0, 1)

    found = ask(tmp_path, frame, answer)["Do its probabilities come true in each group of sex?"]
    assert (found.outcome, found.blocking) == ("refuse", False)
    assert found.measured["group"] == "F"
    assert found.measured["gap"] == pytest.approx(0.2, abs=0.06)


def test_questions_that_the_policy_calls_advice_do_not_block(tmp_path: Path) -> None:
    frame = whole(people())
    harmed = harming(0.5, (frame["sex"] == "F").to_numpy())
    found = ask(tmp_path, frame, harmed, advisory=("selection", "odds", "precision", "calibration"), difference=0.05)
    blocking = {title for title, one in found.items() if one.blocking and one.outcome == "refuse"}
    assert blocking == {OPPORTUNITY, "Are the groups of sex selected alike (demographic parity)?"}


# -- more than two classes, and numbers ------------------------------------------------------------


class Fixed:
    """Answers as they were written down."""

    inline = True

    def __init__(self, outputs: Arrays) -> None:
        self.outputs = outputs

    def run(self, inputs: Arrays, *, timeout_s: float | None = None) -> Arrays:
        rows = len(next(iter(inputs.values())))
        return {name: array[:rows] for name, array in self.outputs.items()}

    def close(self) -> None:
        """Nothing is held."""


def fixed(folder: Path, outputs: Arrays, labels: np.ndarray, sex: np.ndarray, **fields: object) -> Candidate:
    """A candidate of one input, whose answers are given."""
    specs = tuple(TensorSpec(name=name, datatype="FP64", shape=(-1,)) for name in outputs)
    signature = Signature(inputs=(TensorSpec(name="x", datatype="FP64", shape=(-1, 1)),), outputs=specs)
    frame = pd.DataFrame({"x": np.zeros(len(labels)), "truth": labels, "sex": sex})
    return Candidate(
        package=make.package(folder, signature=signature, **fields),
        engine=Fixed(outputs),
        data=gate_data({"validation": frame}, signature, Columns(label="truth", beside=("sex",))),
    )


def asked(candidate: Candidate, **limits: object) -> dict[str, Finding]:
    found = FairnessCheck(msgspec.structs.replace(FairnessLimits(columns=("sex",)), **limits)).check(candidate)
    return {one.title: one for one in found}


def three_classes(folder: Path) -> Candidate:
    """Women of class c are answered a, half of the time."""
    random = np.random.default_rng(0)
    truth, sex = np.array(["a", "b", "c"])[random.integers(3, size=4000)], np.array(["F", "M"])[np.arange(4000) % 2]
    said = np.where((truth == "c") & (sex == "F") & (random.random(4000) < 0.5), "a", truth)
    return fixed(folder, {"label": said.astype(object)}, truth, sex, classes=("a", "b", "c"))


def test_of_several_classes_the_worst_speaks(tmp_path: Path) -> None:
    found = asked(three_classes(tmp_path))
    refused = found[OPPORTUNITY]
    assert refused.outcome == "refuse"
    assert refused.message.startswith("No: the true positive rate of c is 0.")
    assert found[SELECTED].message.startswith("No: the selection rate of c is 0.")


def test_the_declared_class_speaks_for_itself(tmp_path: Path) -> None:
    found = asked(three_classes(tmp_path / "a"), positive="b")
    assert found[OPPORTUNITY].outcome == found[SELECTED].outcome == "pass"
    with pytest.raises(BadConfig, match="none of the model's"):
        asked(three_classes(tmp_path / "b"), positive=True)


@pytest.mark.parametrize(
    ("shift", "spread", "refused"), [(0.0, 1.0, set()), (0.5, 1.0, {"error"}), (0.0, 2.0, {"error_ratio"})]
)
def test_a_regression_that_errs_for_one_group(shift: float, spread: float, refused: set[str], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth, woman = random.normal(size=4000) * 2, np.arange(4000) % 2 == 0
    noise = random.normal(size=4000) * 0.5 * np.where(woman, spread, 1.0)
    answer = truth + noise - np.where(woman, shift, 0.0)
    sex = np.where(woman, "F", "M")
    found = asked(fixed(tmp_path, {"prediction": answer}, truth, sex, task="regression", classes=()))
    assert {key for one in found.values() if one.outcome == "refuse" for key in one.limits} == refused | (
        {"error_ratio"} if shift else set()
    )
    if shift:
        error = found["Does it err the same way for each group of sex?"]
        assert error.measured["group"] == "F"
        assert error.measured["difference"] == pytest.approx(shift, abs=0.05)


# -- policy and data -------------------------------------------------------------------------------


def test_without_columns_nothing_is_shown_and_nothing_blocks(tmp_path: Path) -> None:
    (found,) = ask(tmp_path, people(200), columns=()).values()
    assert (found.outcome, found.blocking) == ("unknown", False)
    assert found.message.startswith("Not shown:")
    assert starter().reads == ()


def test_a_column_that_is_not_there_blocks_and_says_which_is_meant(tmp_path: Path) -> None:
    (found,) = ask(tmp_path, people(200), columns=("sexx",)).values()
    assert (found.outcome, found.blocking) == ("unknown", True)
    assert "Did you mean sex?" in found.remedy


def test_a_policy_says_it_in_yaml(tmp_path: Path) -> None:
    policy = parse_policy(
        {"checks": {"fairness": {"columns": ["sex"], "positive": 1, "bands": {"age": [30, 60]}, "blocks": ["refuse"]}}}
    )
    assert policy.reads == ("sex",)
    assert parse_policy(plain(policy)).digest == policy.digest
    frame = whole(people())
    harmed = make.candidate(
        tmp_path, {"validation": frame}, harming(0.5, (frame["sex"] == "F").to_numpy()), columns=BESIDE
    )
    assert run(harmed, policy).outcome == "refuse"
    with pytest.raises(BadConfig):
        parse_policy({"checks": {"fairness": {"columns": "sex", "ratio": "high"}}})


def test_a_matrix_without_names_takes_no_column_that_is_only_compared() -> None:
    signature = Signature(inputs=(TensorSpec(name="X", datatype="FP64", shape=(-1, 2)),), outputs=())
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "sex": ["F", "M"], "y": [0, 1]})
    rows: LabelledRows = gate_data({"validation": frame}, signature, Columns(label="y", beside=("sex",))).validation
    assert rows.inputs["X"].tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert rows.beside["sex"].tolist() == ["F", "M"]
    wide = Signature(inputs=(TensorSpec(name="X", datatype="FP64", shape=(-1, 2)),), outputs=())
    taken = gate_data({"validation": frame[["a", "b", "y"]]}, wide, Columns(label="y", beside=("b",))).validation
    assert taken.inputs["X"].shape == (2, 2)


def test_groups_of_numbers_with_gaps() -> None:
    ages = np.array([np.nan, 20.0, 30.0, 30.0, 64.9, 65.0])
    found = grouping_of("age", ages, Cutting({"age": (65.0, 30.0)}, 4, 1))
    assert found.names == ("(missing)", "30 to under 65", "65 and over", "under 30")
    assert found.codes.tolist() == [0, 3, 1, 1, 1, 2]
    levels = grouping_of("age", np.array([0.0, 1.0, 1.0]), Cutting({}, 4, 2))
    assert levels.names == ("1",)
    assert levels.small == (("0", 1),)
