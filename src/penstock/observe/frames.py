"""From the inference log to rows: one row per prediction, one column per input.

What comes in: exchanges (`records.Exchange`), or an Arrow table of them. What goes out: an Arrow table that feedback
joins with outcomes, and the `Observations` that monitors read. An input's column is called ``input.<name>``, so that
no name of a model's meets one of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from penstock.observe.windows import Observations
from penstock.records import Column, Exchange, Manifest, Scalar
from penstock.statistics.answers import columns_of, scores_of
from penstock.tensors import Array, Arrays

INPUT = "input."

FIELDS: dict[str, pa.DataType] = {
    "prediction": pa.string(),
    "endpoint": pa.string(),
    "release": pa.int64(),
    "model": pa.string(),
    "version": pa.int64(),
    "variant": pa.string(),
    "share": pa.float64(),
    "key": pa.string(),
    "event_time": pa.float64(),
    "received_at": pa.float64(),
    "latency_s": pa.float64(),
    "code": pa.string(),
    "shadow": pa.bool_(),
    "score": pa.float64(),
    "answer": pa.string(),
}
"""Every column that is not an input; ``answer`` is the label as text, empty for a regression."""

SAME: dict[str, Callable[[Sequence[Exchange]], list[Scalar]]] = {
    "endpoint": lambda held: [one.endpoint for one in held],
    "release": lambda held: [one.release for one in held],
    "model": lambda held: [one.model for one in held],
    "version": lambda held: [one.version for one in held],
    "variant": lambda held: [one.variant for one in held],
    "share": lambda held: [one.share for one in held],
    "key": lambda held: [one.key for one in held],
    "event_time": lambda held: [one.event_time for one in held],
    "received_at": lambda held: [one.received_at for one in held],
    "latency_s": lambda held: [one.latency_s for one in held],
    "code": lambda held: [one.code for one in held],
    "shadow": lambda held: [one.shadow for one in held],
}
"""What all rows of an exchange share."""


def table_of(exchanges: Iterable[Exchange], manifest: Manifest) -> pa.Table:
    """Predictions as a table, in the order of the exchanges; failed requests give one row each, without a score.

    Args:
        exchanges: Of one model's versions; shadows included, marked.
        manifest: Its signature and classes say what the columns are called and what the score is.
    """
    held = [exchange for exchange in exchanges if exchange.rows or exchange.code != "ok"]
    counts = [max(exchange.rows, 1) for exchange in held]
    columns = {
        name: pa.array([value for value, rows in zip(of(held), counts, strict=True) for _ in range(rows)], FIELDS[name])
        for name, of in SAME.items()
    }
    ids = [f"{exchange.id}.{row}" for exchange, rows in zip(held, counts, strict=True) for row in range(rows)]
    outputs = {name: _array(values) for name, values in _stacked([one.outputs for one in held], counts).items()}
    blank = [""] * len(ids)
    answers = [str(value) for value in outputs["label"].reshape(-1).tolist()] if "label" in outputs else blank
    scores = scores_of(outputs, manifest.classes) if outputs else np.full(len(ids), np.nan)
    table = pa.table(
        {
            "prediction": pa.array(ids, pa.string()),
            **columns,
            "score": pa.array(scores),
            "answer": pa.array(answers, pa.string()),
        }
    ).select(list(FIELDS))
    for name, values in _inputs(_stacked([one.inputs for one in held], counts), manifest).items():
        table = table.append_column(INPUT + name, pa.array(values.tolist(), from_pandas=True))
    return table


def predictions(table: pa.Table) -> Observations:
    """What answered predictions say: rows by event time, without shadows and failures.

    Args:
        table: As `table_of` gives it; a column ``label`` is read where it is there.
    """
    return _rows(table, "event_time")


def outcomes(table: pa.Table) -> Observations:
    """Predictions with their outcomes, by the time each became true.

    Args:
        table: As `table_of` gives it, with the columns ``label`` (a number) and ``outcome_at`` that feedback adds.
    """
    known = table.filter(pc.is_valid(table["outcome_at"]))
    return _rows(known, "outcome_at")


def _rows(table: pa.Table, time: str) -> Observations:
    answered = np.array([code == "ok" for code in table["code"].to_pylist()], dtype=bool)
    shadow = table["shadow"].to_numpy().astype(bool)
    there = table.filter(pa.array(answered & ~shadow))
    names = [name for name in there.column_names if name.startswith(INPUT)]
    labels = there["label"].to_numpy() if "label" in there.column_names else np.full(there.num_rows, np.nan)
    return Observations(
        there[time].to_numpy().astype(float),
        there["score"].to_numpy().astype(float),
        labels.astype(float),
        {name.removeprefix(INPUT): _values(there[name]) for name in names},
    )


def _values(column: pa.ChunkedArray) -> Array:
    """Numbers as numbers, a missing one NaN; text as objects."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_null(column.type):
        return np.array(column.to_pylist(), dtype=object)
    return np.asarray(column.to_numpy())


def _stacked(columns: list[dict[str, Column]], counts: list[int]) -> dict[str, list[object]]:
    """Columns of many exchanges under each other; None where one lacks a column."""
    names = dict.fromkeys(name for one in columns for name in one)
    return {
        name: [value for one, rows in zip(columns, counts, strict=True) for value in one.get(name) or [None] * rows]
        for name in names
    }


def _inputs(inputs: Mapping[str, list[object]], manifest: Manifest) -> Arrays:
    names = {spec.name: spec.columns for spec in manifest.signature.inputs}
    return columns_of({name: _array(values) for name, values in inputs.items()}, names)


def _array(values: list[object]) -> Array:
    """A column of the log as an array: numbers with NaN for a missing one, vectors as a matrix, all else as objects."""
    width = max((len(value) for value in values if isinstance(value, list)), default=0)
    if width:
        blank: list[object] = [None] * width
        nested = [value if isinstance(value, list) else blank for value in values]
        return np.stack([_array([row[place] for row in nested]) for place in range(width)], axis=1)
    kinds = {type(value) for value in values}
    if kinds <= {float, int, type(None)} and kinds != {type(None)}:
        return np.array(
            [np.nan if value is None else value for value in values], dtype=float if None in values else None
        )
    return np.array(values, dtype=bool if kinds == {bool} else object)
