"""What production taught, in the shape that the champion was trained in: two tables, cut between whole days.

    rows with outcomes, champion's manifest -> (train, validation)

Every fourth day (UTC, event time) is kept aside whole, since rows of one day share more than their columns; every
third or second where the gate, which takes days as its units, would have too few of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from penstock.errors import NotReady
from penstock.records import Manifest, Scalar
from penstock.statistics.answers import canonical
from penstock.statistics.intervals import MIN_UNITS
from penstock.tensors import DTYPES, TensorSpec

DAY_S = 86_400.0
EVERY = 4
"""Each fourth labelled day is held out; fewer labelled days than that are too few to learn from."""
DENSEST = 2
MOST = 1_000_000
"""Rows taught at most, the latest."""


class Lessons(NamedTuple):
    """The tables, and what their columns are.

    Attributes:
        inputs: Columns that the model sees, in the champion's order.
        label: The column that holds the truth; `time` and `group` are empty where the champion had none.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    inputs: tuple[str, ...]
    label: str
    time: str
    group: str


def lessons_of(rows: pd.DataFrame, champion: Manifest) -> Lessons:
    """Cut labelled rows into what is trained on and what is judged on.

    Args:
        rows: As `penstock.app.labelled.labelled_rows` gives them.
        champion: Names the columns and their types. Outcomes that are none of its classes are left out.

    Raises:
        NotReady: Outcomes of too few days have come.
    """
    known = _known(rows.tail(MOST).reset_index(drop=True), champion.classes)
    days = np.floor(known["event_time"].to_numpy(dtype=np.float64) / DAY_S) if len(known) else np.empty(0)
    apart = np.unique(days)
    named = champion.parameters
    label, time, group = (str(named.get(name, "") or "") for name in ("label", "time", "group"))
    label = label or "label"
    every = _every(len(apart), least=MIN_UNITS if time else 1)
    frame = pd.DataFrame(dict(column for spec in champion.signature.inputs for column in _columns(known, spec)))
    inputs = tuple(frame.columns)
    frame[label] = known["outcome"]
    if time:
        frame[time] = known["event_time"]
    if group:
        frame[group] = known["key"]
    held = np.isin(days, apart[every - 1 :: every])
    train, validation = frame[~held].reset_index(drop=True), frame[held].reset_index(drop=True)
    return Lessons(train, validation, inputs, label, time, group)


def _every(days: int, *, least: int) -> int:
    """Which days are held out: as few as possible, and no fewer than the gate needs.

    Raises:
        NotReady: There are too few days.
    """
    needed = max(EVERY, DENSEST * least)
    if days < needed:
        raise NotReady(
            f"outcomes of {days} days have come, {needed} are the least to train and judge on",
            "it goes on when more have come",
        )
    return min(EVERY, days // least)


def _known(rows: pd.DataFrame, classes: Sequence[Scalar]) -> pd.DataFrame:
    """Rows whose outcome is one of the classes, as the classes are written; of a regression, as numbers."""
    if not len(rows):
        return rows
    if not classes:
        return rows.assign(outcome=rows["outcome"].astype(float))
    written = {canonical(one): one for one in classes}
    outcome = pd.Series([written.get(canonical(value)) for value in rows["outcome"].tolist()], dtype=object)
    there = outcome.notna()
    return rows[there].assign(outcome=outcome[there].infer_objects()).reset_index(drop=True)


def _columns(rows: pd.DataFrame, spec: TensorSpec) -> list[tuple[str, pd.Series]]:
    """One input's columns in its own type; a matrix has several."""
    column = rows[spec.name]
    is_matrix = isinstance(column.iloc[0], list) and (len(column.iloc[0]) > 1 or bool(spec.columns))
    if not is_matrix:
        return [(spec.name, _typed(column.map(_bare), spec))]
    width = len(column.iloc[0])
    names = spec.columns or tuple(str(place) for place in range(width))
    return [(name, _typed(column.str[place], spec)) for place, name in enumerate(names)]


def _bare(value: object) -> object:
    """A value that came as a row of one."""
    return value[0] if isinstance(value, list) else value


def _typed(column: pd.Series, spec: TensorSpec) -> pd.Series:
    """Numbers as the signature has them; a missing text is None where the champion knew missing ones."""
    if spec.datatype == "BYTES":
        text = column.astype(object)
        return text.where(text.ne("") & text.notna(), None) if spec.nullable else text
    return column.astype(DTYPES[spec.datatype])
