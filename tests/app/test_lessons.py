"""What production taught: the champion's columns and types, cut between whole days."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from penstock.app.lessons import DAY_S, lessons_of
from penstock.errors import NotReady
from penstock.records import Manifest, Scalar
from penstock.tensors import Signature, TensorSpec

INPUTS = (
    TensorSpec(name="age", datatype="INT64", shape=(-1, 1)),
    TensorSpec(name="income", datatype="FP32", shape=(-1, 1), nullable=True),
    TensorSpec(name="plan", datatype="BYTES", shape=(-1, 1), nullable=True),
)


def manifest(
    *inputs: TensorSpec, classes: tuple[Scalar, ...] = (0, 1), parameters: dict[str, Scalar] | None = None
) -> Manifest:
    return Manifest(
        format=1,
        name="m",
        kind="sklearn",
        engine="onnxruntime",
        entry="model/model.onnx",
        task="classification",
        signature=Signature(inputs=inputs or INPUTS, outputs=()),
        files={},
        classes=classes,
        parameters=parameters if parameters is not None else {"label": "churned"},
    )


def rows(days: int, a_day: int = 5, **changes: object) -> pd.DataFrame:
    count = days * a_day
    return pd.DataFrame(
        {
            "age": np.arange(count),
            "income": [None if at % 3 == 0 else 1.5 for at in range(count)],
            "plan": ["" if at % 4 == 0 else "pro" for at in range(count)],
            "event_time": np.repeat(np.arange(days), a_day) * DAY_S + 100.0,
            "key": [f"k{at}" for at in range(count)],
            "outcome": [at % 2 for at in range(count)],
            **changes,
        }
    )


def test_no_day_lies_on_both_sides_and_no_row_is_lost() -> None:
    parameters: dict[str, Scalar] = {"label": "churned", "time": "when", "group": "who"}
    found = lessons_of(rows(25), manifest(parameters=parameters))
    days = [set((frame["when"] // DAY_S).astype(int)) for frame in (found.train, found.validation)]
    assert days[1] == {3, 7, 11, 15, 19, 23}
    assert days[0] == set(range(25)) - days[1]
    assert sorted([*found.train["age"], *found.validation["age"]]) == list(range(125))
    assert (found.label, found.time, found.group) == ("churned", "when", "who")
    assert set(found.train["who"]) < {f"k{at}" for at in range(125)}


@pytest.mark.parametrize(("days", "held"), [(12, 6), (17, 8), (18, 6), (23, 7), (24, 6), (60, 15)])
def test_the_gate_gets_as_many_days_as_it_needs(days: int, held: int) -> None:
    found = lessons_of(rows(days), manifest(parameters={"label": "churned", "time": "when"}))
    assert (found.validation["when"] // DAY_S).nunique() == held


def test_columns_are_of_the_champion_s_types() -> None:
    found = lessons_of(rows(4), manifest())
    assert list(found.train.columns) == ["age", "income", "plan", "churned"]
    assert found.inputs == ("age", "income", "plan")
    assert [str(kind) for kind in found.train.dtypes[["age", "income"]]] == ["int64", "float32"]
    assert found.train["income"].isna().any()
    assert found.train["plan"].isna().any(), "a text that may be missing is missing, not empty"
    assert found.train["churned"].dtype.kind == "i"


def test_outcomes_are_the_champion_s_classes_however_they_were_written() -> None:
    mixed = [[0, 1, "1", True, 0.0][at % 5] for at in range(20)]
    found = lessons_of(rows(4, outcome=mixed), manifest())
    assert set(found.train["churned"]) == {0, 1}
    assert len(found.train) == 15
    some = [["no", "yes", "perhaps"][at % 3] for at in range(60)]
    found = lessons_of(rows(4, 15, outcome=some), manifest(classes=("no", "yes")))
    assert set(found.train["churned"]) == {"no", "yes"}, "what the champion never answers is left out"


def test_a_matrix_becomes_columns() -> None:
    matrix = rows(4).assign(X=[[float(at), float(-at)] for at in range(20)])
    found = lessons_of(matrix, manifest(TensorSpec(name="X", datatype="FP64", shape=(-1, 2))))
    assert found.inputs == ("0", "1")
    named = TensorSpec(name="X", datatype="FP64", shape=(-1, 2), columns=("up", "down"))
    found = lessons_of(matrix, manifest(named))
    assert list(found.train["down"]) == [-value for value in found.train["up"]]


def test_a_regression_learns_numbers() -> None:
    found = lessons_of(rows(4), manifest(classes=()))
    assert found.train["churned"].dtype == np.float64


@pytest.mark.parametrize("days", [0, 1, 3])
def test_too_few_days_have_to_wait(days: int) -> None:
    with pytest.raises(NotReady, match=f"{days} days"):
        lessons_of(rows(days), manifest())


def test_units_of_days_need_more_days() -> None:
    with pytest.raises(NotReady, match="12 are the least"):
        lessons_of(rows(11), manifest(parameters={"label": "churned", "time": "when"}))
