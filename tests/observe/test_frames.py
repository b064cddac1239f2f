"""From exchanges to rows: matrices, missing values, failures and shadows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from penstock.observe import frames
from penstock.records import Exchange, Manifest
from penstock.tensors import Signature, TensorSpec


def manifest(*inputs: TensorSpec, classes: tuple[str | int | bool, ...] = (0, 1)) -> Manifest:
    return Manifest(
        format=1,
        name="m",
        kind="sklearn",
        engine="onnxruntime",
        entry="model/model.onnx",
        task="classification" if classes else "regression",
        signature=Signature(inputs=inputs, outputs=()),
        files={},
        classes=classes,
    )


def exchange(number: int, **changes: object) -> Exchange:
    known: dict[str, object] = {
        "id": f"id{number}",
        "endpoint": "e",
        "release": 1,
        "model": "m",
        "version": 2,
        "variant": "stable",
        "share": 0.9,
        "key": f"k{number}",
        "event_time": 100.0 + number,
        "received_at": 200.0 + number,
        "latency_s": 0.001,
        "code": "ok",
        "rows": 2,
        "inputs": {"x": [1.5, None], "site": ["a", ""]},
        "outputs": {"label": [1, 0], "probabilities": [[0.2, 0.8], [0.7, 0.3]]},
    }
    return Exchange(**{**known, **changes})  # type: ignore[arg-type]


COLUMNS = manifest(
    TensorSpec(name="x", datatype="FP64", shape=(-1, 1)), TensorSpec(name="site", datatype="BYTES", shape=(-1, 1))
)


def test_one_row_per_prediction() -> None:
    table = frames.table_of([exchange(1), exchange(2)], COLUMNS)
    assert table["prediction"].to_pylist() == ["id1.0", "id1.1", "id2.0", "id2.1"]
    assert table["score"].to_pylist() == [0.8, 0.3, 0.8, 0.3]
    assert table["answer"].to_pylist() == ["1", "0", "1", "0"]
    rows = frames.predictions(table)
    assert rows.times.tolist() == [101.0, 101.0, 102.0, 102.0]
    assert np.isnan(rows.columns["x"][1])
    assert rows.columns["site"].tolist() == ["a", "", "a", ""]


def test_columns_of_one_come_as_written_either_way() -> None:
    nested = frames.table_of([exchange(1, inputs={"x": [[1.5], [2.5]], "site": [["a"], ["b"]]})], COLUMNS)
    assert frames.predictions(nested).columns["x"].tolist() == [1.5, 2.5]
    assert frames.predictions(nested).columns["site"].tolist() == ["a", "b"]


def test_a_matrix_has_one_column_each() -> None:
    named = manifest(TensorSpec(name="X", datatype="FP64", shape=(-1, 2), columns=("age", "income")))
    bare = manifest(TensorSpec(name="X", datatype="FP64", shape=(-1, 2)))
    one = exchange(1, inputs={"X": [[1.0, 2.0], [3.0, None]]})
    assert set(frames.predictions(frames.table_of([one], named)).columns) == {"age", "income"}
    rows = frames.predictions(frames.table_of([one], bare))
    assert rows.columns["X[0]"].tolist() == [1.0, 3.0]
    assert np.isnan(rows.columns["X[1]"][1])


def test_failures_and_shadows_are_kept_but_not_judged() -> None:
    failed = exchange(2, code="input.invalid", rows=0, inputs={}, outputs={})
    table = frames.table_of([exchange(1), failed, exchange(3, shadow=True)], COLUMNS)
    assert table["code"].to_pylist() == ["ok", "ok", "input.invalid", "ok", "ok"]
    assert len(frames.predictions(table)) == 2


def test_an_empty_log_is_an_empty_table() -> None:
    table = frames.table_of([], COLUMNS)
    assert table.column_names == list(frames.FIELDS)
    assert len(frames.predictions(table)) == 0


def test_outcomes_go_by_their_own_time() -> None:
    table = frames.table_of([exchange(1)], COLUMNS)
    table = table.append_column("label", pa.array([1.0, None])).append_column("outcome_at", pa.array([150.0, None]))
    rows = frames.outcomes(table)
    assert (rows.times.tolist(), rows.labels.tolist(), rows.scores.tolist()) == ([150.0], [1.0], [0.8])


def test_a_regression_scores_its_prediction() -> None:
    table = frames.table_of(
        [exchange(1, outputs={"prediction": [3.5, 4.5]})],
        manifest(TensorSpec(name="x", datatype="FP64", shape=(-1, 1)), classes=()),
    )
    assert table["score"].to_pylist() == [3.5, 4.5]
