"""Files become labelled rows by the signature; what does not fit is named, never echoed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import gate_candidates as make
import numpy as np
import pandas as pd
import pytest

from penstock.errors import BadConfig, InvalidInput
from penstock.gate.data import Columns, gate_data, inputs_of, parse_sources, read_data, rows_of
from penstock.tensors import Signature, TensorSpec

COLUMNS = Columns(label="late", time="day", group="customer")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make.baskets(200)


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz"])
def test_a_file_becomes_rows(kind: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{kind}"
    frame.to_parquet(path) if kind == "parquet" else frame.to_csv(path, index=False)
    data = read_data({"validation": path}, make.SIGNATURE, COLUMNS)
    rows = data.validation
    assert len(rows) == 200
    assert rows.inputs["weight"].shape == (200, 1)
    assert rows.inputs["items"].dtype == np.int64
    assert rows.inputs["shop"][0, 0] == frame["shop"][0]
    assert rows.time[0] == frame["day"][0].timestamp()
    assert rows.group[0] == frame["customer"][0]
    dataset = data.datasets[0]
    assert dataset.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert (dataset.rows, dataset.role) == (200, "validation")


def test_missing_values_travel_as_the_signature_says(frame: pd.DataFrame) -> None:
    holes = frame.copy()
    holes.loc[3, "weight"] = np.nan
    holes.loc[4, "shop"] = None
    inputs = rows_of(holes, make.SIGNATURE, COLUMNS).inputs
    assert np.isnan(inputs["weight"][3, 0])
    assert inputs["shop"][4, 0] == ""


def test_a_matrix_is_taken_from_its_columns(frame: pd.DataFrame) -> None:
    named = Signature(
        inputs=(TensorSpec(name="X", datatype="FP32", shape=(-1, 2), columns=("price", "weight")),), outputs=()
    )
    assert inputs_of(frame, named)["X"][:, 0] == pytest.approx(frame["price"].to_numpy(np.float32))
    plain = Signature(inputs=(TensorSpec(name="X", datatype="FP64", shape=(-1, 2)),), outputs=())
    found = inputs_of(frame[["weight", "price", "late"]], plain, apart=("late",))
    assert found["X"].shape == (200, 2)


def test_a_refusal_names_the_column_and_no_value(frame: pd.DataFrame) -> None:
    wrong = frame.assign(items="a secret")
    with pytest.raises(InvalidInput) as caught:
        rows_of(wrong, make.SIGNATURE, COLUMNS)
    assert caught.value.where == "items"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("column", ["items", "weight"])
def test_numbers_are_never_rounded(column: str, frame: pd.DataFrame) -> None:
    signature = Signature(inputs=(TensorSpec(name=column, datatype="INT64", shape=(-1, 1)),), outputs=())
    rows_of(frame.assign(**{column: 3.0}), signature, COLUMNS)
    with pytest.raises(InvalidInput):
        rows_of(frame.assign(**{column: 3.5}), signature, COLUMNS)


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        (Columns(label="lat"), "did you mean late?"),
        (Columns(label="late", time="dey"), "did you mean day?"),
        (Columns(label="late", group="costumer"), "did you mean customer?"),
        (Columns(label=""), "--label"),
    ],
)
def test_a_column_that_is_not_there_gets_a_suggestion(columns: Columns, hint: str, frame: pd.DataFrame) -> None:
    with pytest.raises(BadConfig) as caught:
        rows_of(frame, make.SIGNATURE, columns)
    assert hint in caught.value.hint


def test_rows_without_label_or_time_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(InvalidInput, match="1 of 200 rows have no label"):
        rows_of(frame.assign(late=frame["late"].astype(float).mask(frame.index == 3)), make.SIGNATURE, COLUMNS)
    with pytest.raises(InvalidInput, match="no time"):
        rows_of(frame.assign(day=frame["day"].mask(frame.index == 3)), make.SIGNATURE, COLUMNS)
    with pytest.raises(InvalidInput, match="no rows"):
        rows_of(frame.head(0), make.SIGNATURE, COLUMNS)
    with pytest.raises(BadConfig, match="time"):
        rows_of(frame.assign(day="soon"), make.SIGNATURE, COLUMNS)


def test_times_agree_however_they_are_written(frame: pd.DataFrame) -> None:
    seconds = frame["day"].astype("datetime64[s]").astype(np.int64)
    for written in (seconds, seconds * 1000, frame["day"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"), frame["day"]):
        rows = rows_of(frame.assign(day=written), make.SIGNATURE, COLUMNS)
        assert rows.time == pytest.approx(seconds.to_numpy())


def test_sources_are_one_file_or_named_parts() -> None:
    assert parse_sources(["a.csv"]) == {"validation": Path("a.csv")}
    named = parse_sources(["train=a.csv", "validation=b.parquet", "test=c.csv"])
    assert list(named) == ["train", "validation", "test"]
    for words, hint in (
        (["trian=a", "validation=b"], "did you mean train?"),
        (["a", "validation=b"], "one file"),
        (["train=a"], "validation=FILE"),
    ):
        with pytest.raises(BadConfig) as caught:
            parse_sources(words)
        assert hint in caught.value.hint


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(BadConfig, match="neither csv, parquet nor npz"):
        read_data({"validation": tmp_path / "rows.parquet"}, make.SIGNATURE, COLUMNS)
    with pytest.raises(BadConfig, match="no such data file"):
        read_data({"validation": tmp_path / "gone.csv"}, make.SIGNATURE, COLUMNS)


def test_units_are_times_before_groups_and_none_before_both(frame: pd.DataFrame) -> None:
    parts = {"train": frame.head(100), "validation": frame.tail(100)}
    by_time = gate_data(parts, make.SIGNATURE, COLUMNS)
    assert len(np.unique(by_time.units("validation"))) == frame.tail(100)["day"].nunique()
    by_group = gate_data(parts, make.SIGNATURE, Columns(label="late", group="customer"))
    assert len(np.unique(by_group.units("validation"))) == frame.tail(100)["customer"].nunique()
    assert gate_data(parts, make.SIGNATURE, Columns(label="late")).units("validation") is None
