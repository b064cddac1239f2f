"""The reference profile of a package: what its data and its answers looked like before anybody used it.

What comes in: the caller's rows, and the model's answers to them from the sandbox. What goes out: a `Reference` of
`penstock.statistics.reference`: histograms, spreads and a calibration curve, no row of anybody.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from penstock.build.examine import Examined
from penstock.build.rows import Given
from penstock.build.scores import read_scores
from penstock.runtime.transform import Classes
from penstock.statistics.arraytables import holds_arrays
from penstock.statistics.reference import Reference, make_reference
from penstock.tensors import Arrays, TensorSpec

Floats = npt.NDArray[np.float64]


def measure(given: Given, examined: Examined, answers: bytes, before: Classes = ()) -> Reference:
    """The profile.

    Args:
        given: The rows.
        examined: The signature and classes.
        answers: Outputs by name, as the sandbox left them, and which rows they are of.
        before: Names of the classes that the labels may have, too; empty where there are no others.

    Raises:
        Untrusted: They are no answers to these rows.
    """
    outputs, kept = read_scores(answers, len(given.frame), examined)
    frame = given.frame.iloc[kept]
    labels = None if given.labels is None else given.labels.iloc[kept].reset_index(drop=True)
    scores, right = _classified(examined, outputs, labels, before) if examined.classes else _predicted(outputs, labels)
    columns = {
        name: _values(frame[name], spec)
        for spec in examined.signature.inputs
        for name in spec.columns or (spec.name,)
        if name in frame and not holds_arrays(frame[name])
    }
    times = None if given.times is None else given.times[kept]
    task = "classification" if examined.classes else "regression"
    return make_reference(columns, scores=scores, labels=right, times=times, task=task)  # type: ignore[arg-type]


def _predicted(outputs: Arrays, labels: pd.Series | None) -> tuple[Floats, Floats | None]:
    """A regression's prediction (the first of several), and the number it should have been.

    Of a model that names its outputs itself, the first numbers count; one that answers texts alone has none.
    """
    numbers = [array for array in outputs.values() if array.dtype.kind in "biuf" and array.size]
    predicted = outputs.get("prediction", numbers[0] if numbers else np.full(_rows(outputs), np.nan))
    predicted = predicted.astype(np.float64)
    scores = predicted.reshape(len(predicted), -1)[:, 0]
    if labels is None:
        return scores, None
    return scores, pd.to_numeric(labels, errors="coerce").to_numpy(dtype=np.float64)


def _classified(
    examined: Examined, outputs: Arrays, labels: pd.Series | None, before: Classes
) -> tuple[Floats, Floats | None]:
    """Of two classes the chance of the second, of more that of the answered one; 1 where that was right."""
    two = len(examined.classes) == 2
    sure = outputs.get("probabilities", outputs.get("scores"))
    if sure is None:  # it answers labels alone: as sure as can be of the one, and not of the other
        second = pd.Series([examined.classes[-1]] * _rows(outputs))
        answered = _texts(pd.Series(outputs["label"].astype(object))) == _texts(second)
        scores = answered.astype(np.float64) if two else np.ones(_rows(outputs))
    else:
        chances = sure.astype(np.float64)
        scores = chances[:, 1] if two else chances.max(axis=1)
    if labels is None:
        return scores, None
    wanted = pd.Series([examined.classes[1]] * len(scores)) if two else pd.Series(outputs["label"].astype(object))
    right = (_texts(labels) == _texts(wanted)).astype(np.float64)
    if before:  # the data may name them as the model did before its package gave them other names
        names = dict(zip(_texts(pd.Series(examined.classes)), _texts(pd.Series(before)), strict=True))
        right = np.maximum(right, _texts(labels) == pd.Series(_texts(wanted)).map(names).to_numpy())
    right[labels.isna().to_numpy()] = np.nan
    return scores, right


def _rows(outputs: Arrays) -> int:
    return len(next(iter(outputs.values())))


def _texts(values: pd.Series) -> npt.NDArray[np.object_]:
    """Labels as text, whole numbers without their ".0"."""
    if values.dtype.kind in "fb":
        values = values.astype("Int64") if values.dtype.kind == "f" else values.astype(int)
    return values.astype(str).to_numpy(dtype=object)


def _values(series: pd.Series, spec: TensorSpec) -> npt.NDArray[np.generic]:
    """A column as histograms take it."""
    if spec.datatype == "BYTES":
        return series.astype(object).where(series.notna(), None).to_numpy(dtype=object)
    return pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64)
