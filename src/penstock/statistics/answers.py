"""A model's inputs, answers and outcomes as plain columns: the one reading that build, observe and feedback share.

What comes in: arrays by tensor name, class labels, outcomes as they came. What goes out: one column per feature, one
score per row, one number per outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from penstock.records import Scalar
from penstock.tensors import Array, Arrays

Floats = npt.NDArray[np.float64]


def columns_of(inputs: Mapping[str, Array], names: Mapping[str, Sequence[str]] | None = None) -> Arrays:
    """One column per feature: a matrix ``X`` of k columns becomes ``X[0]`` ... ``X[k-1]``, or the names it is given.

    Args:
        inputs: Arrays of shape ``(rows,)``, ``(rows, 1)`` or ``(rows, k)``.
        names: Of a matrix, the names of its columns (`TensorSpec.columns`).
    """
    columns: Arrays = {}
    for name, array in inputs.items():
        flat = np.asarray(array)
        if flat.ndim < 2 or flat.shape[1:] == (1,):
            columns[name] = flat.reshape(-1)
            continue
        flat = flat.reshape(len(flat), -1)
        given = (names or {}).get(name, ())
        for place in range(flat.shape[1]):
            columns[given[place] if place < len(given) else f"{name}[{place}]"] = flat[:, place]
    return columns


def scores_of(outputs: Mapping[str, Array], classes: Sequence[Scalar] = ()) -> Floats:
    """One number per row: a regression's prediction, a classification's chance of its positive class.

    Of a regression of several numbers it is the first.
    With two classes the positive one is the second; with more, the answered one. A classifier that gives no
    probabilities scores 1 where it answers the positive class (always, with more than two) and 0 elsewhere.
    """
    if "prediction" in outputs:
        predicted = np.asarray(outputs["prediction"], float)
        while predicted.ndim > 1:
            predicted = predicted[:, 0]
        return predicted
    if "probabilities" in outputs:
        chances = np.asarray(outputs["probabilities"], float)
        chances = chances.reshape(len(chances), -1)
        if chances.shape[1] == 2:
            return chances[:, 1]
        return chances.max(axis=1) if chances.size else np.empty(0)
    answers = np.asarray(outputs.get("label", ())).reshape(-1).tolist()
    if len(classes) != 2:
        return np.ones(len(answers))
    return labels_of(answers, answers, classes)


def labels_of(outcomes: Sequence[Scalar], answers: Sequence[Scalar], classes: Sequence[Scalar] = ()) -> Floats:
    """One number per outcome, to hold against `scores_of`.

    Two classes: 1 where the outcome is the second; more: 1 where it is what was answered; none (a regression): the
    outcome itself. NaN where there is no outcome.
    """
    if not classes:
        return np.array([np.nan if value is None else float(value) for value in outcomes], dtype=float)
    positive = canonical(classes[1]) if len(classes) == 2 else None
    wanted = [positive] * len(outcomes) if positive is not None else [canonical(answer) for answer in answers]
    return np.array(
        [
            np.nan if value is None else float(canonical(value) == want)
            for value, want in zip(outcomes, wanted, strict=True)
        ],
        dtype=float,
    )


def canonical(value: Scalar) -> str:
    """A class label as text, whichever of True, 1, 1.0 and "1" it was written as."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return {"True": "1", "true": "1", "False": "0", "false": "0"}.get(text, text)
