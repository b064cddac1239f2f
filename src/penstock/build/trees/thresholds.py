"""Rows next to decision thresholds: where a compiled graph and its original part company if they ever do.

What comes in: a fitted model and rows. What goes out: the same rows with single values moved onto a threshold,
one step of float64 and of float32 below it and above it. Thresholds are read from the trees; where steps stand
before the trees, each is carried back through them as far as they are straight lines in one column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from penstock.build.refusals import answer_those
from penstock.build.schema import row_count, take
from penstock.build.trees.estimators import tables_of
from penstock.runtime.catboosters import is_catboost
from penstock.runtime.modeltable import table
from penstock.tensors import Array, Arrays, TensorSpec

Floats = npt.NDArray[np.float64]
Split = tuple[int, float]
"""Column of the estimator's matrix, and the value it is compared with."""

MAX_SPLITS = 400


def splits_of(estimator: object) -> list[Split]:
    """Every split of a tree model; empty for other models."""
    found: set[Split] = set()
    own = ((one.feature[one.inner], one.threshold[one.inner]) for one in tables_of(estimator))
    pairs = [pair for features, values in own for pair in zip(features, values, strict=True)]
    for feature, threshold in (*pairs, *_booster_splits(estimator)):
        if np.isfinite(threshold):
            found.add((int(feature), float(threshold)))
    return sorted(found)


def threshold_rows(model: object, inputs: Sequence[TensorSpec], rows: Arrays) -> Arrays | None:
    """Rows with single values on and around thresholds; None where the model has no trees or none can be reached.

    Args:
        model: The original.
        inputs: Its inputs.
        rows: Complete rows to start from.
    """
    steps = [step for _, step in getattr(model, "steps", [("", model)])]
    splits = splits_of(steps[-1])
    if not splits:
        return None
    chosen = [splits[int(at)] for at in np.linspace(0, len(splits) - 1, min(len(splits), MAX_SPLITS)).round()]
    lines = _lines(model, steps[:-1], inputs, rows)
    moves = [
        (*lines[feature][:2], value)
        for feature, threshold in chosen
        if feature in lines
        for value in _around(threshold, *lines[feature][2:])
    ]
    return _moved(rows, moves, inputs) if moves else None


Line = tuple[str, int, float, float]
"""Input, its column, slope and offset: what the estimator sees is ``slope * value + offset``."""


def _lines(model: object, steps: Sequence[object], inputs: Sequence[TensorSpec], rows: Arrays) -> Mapping[int, Line]:
    """For each column of the estimator, the input it is a straight line of."""
    places = [
        (spec.name, column)
        for spec in inputs
        if spec.datatype not in {"BYTES", "BOOL"}
        for column in range(spec.shape[1])
    ]
    if not steps or all(step == "passthrough" for step in steps):
        order = [(spec.name, column) for spec in inputs for column in range(spec.shape[1])]
        return {at: (*place, 1.0, 0.0) for at, place in enumerate(order) if place in places}
    if not places:
        return {}
    low, middle, high = (_seen(model, steps, inputs, _probe(rows, places, value)) for value in (0.0, 1.0, 3.0))
    lines: dict[int, Line] = {}
    for at in sorted(low.keys() & middle.keys() & high.keys()):
        slope = middle[at] - low[at]
        straight = np.isclose(high[at] - low[at], 3 * slope, rtol=1e-9, atol=1e-12) & (slope != 0)
        for feature in np.flatnonzero(straight):
            lines[int(feature)] = (*places[at], float(slope[feature]), float(low[at][feature]))
    return lines


def _seen(model: object, steps: Sequence[object], inputs: Sequence[TensorSpec], rows: Arrays) -> dict[int, Floats]:
    """What the estimator sees of each row; rows that a step before it refuses are left out."""
    found = answer_those(lambda some: {"seen": _transformed(model, steps, inputs, some)}, rows)
    seen = found.answers.get("seen", np.zeros((0, 0)))
    return dict(zip(found.kept.tolist(), seen.astype(np.float64), strict=True))


def _probe(rows: Arrays, places: Sequence[tuple[str, int]], value: float) -> Arrays:
    """One row per place, all alike but for that place's value."""
    probe = take(rows, np.zeros(len(places), dtype=np.int64))
    for at, (name, column) in enumerate(places):
        probe[name][at, column] = value
    return probe


def _transformed(model: object, steps: Sequence[object], inputs: Sequence[TensorSpec], rows: Arrays) -> Floats:
    """What the estimator sees."""
    seen = table(model, inputs, rows)
    for step in steps:
        if step is not None and step != "passthrough":
            seen = step.transform(seen)  # type: ignore[attr-defined]
    dense = seen.toarray() if hasattr(seen, "toarray") else seen
    return np.asarray(dense, dtype=np.float64)


def _around(threshold: float, slope: float, offset: float) -> Iterator[float]:
    """A threshold in the input's own measure, and its neighbours in both precisions."""
    centre = np.float64((threshold - offset) / slope)
    narrow = np.float32(centre)
    yield float(centre)
    for end in (-np.inf, np.inf):
        near = np.nextafter(centre, end)
        yield float(near)
        yield float(np.nextafter(near, end))
        yield float(np.nextafter(narrow, np.float32(end)))
    yield float(narrow)


def _moved(rows: Arrays, moves: Sequence[tuple[str, int, float]], inputs: Sequence[TensorSpec]) -> Arrays:
    """Rows, one a move, taken in turn."""
    moved = take(rows, np.arange(len(moves)) % row_count(rows))
    whole = {spec.name for spec in inputs if not spec.datatype.startswith("FP")}
    for at, (name, column, value) in enumerate(moves):
        array: Array = moved[name]
        if name not in whole:
            array[at, column] = value
        elif abs(value) < 2**31 and (value >= 0 or not inputs_unsigned(array)):
            array[at, column] = int(np.floor(value)) + at % 2
    return moved


def inputs_unsigned(array: Array) -> bool:
    """Whether an array cannot hold a value below zero."""
    return array.dtype.kind == "u"


def _booster_splits(estimator: object) -> Iterator[Split]:
    """CatBoost's borders; LightGBM and XGBoost, as tables of their nodes."""
    if is_catboost(estimator):
        borders: Mapping[int, Sequence[float]] = estimator.get_borders()  # type: ignore[attr-defined]
        yield from ((feature, border) for feature, known in borders.items() for border in known)
        return
    booster = _booster(estimator)
    if booster is not None:
        nodes = booster.trees_to_dataframe()
        if "threshold" in nodes:  # LightGBM
            names = list(booster.feature_name())
            nodes = nodes[nodes["decision_type"] == "<="]
            yield from zip(map(names.index, nodes["split_feature"]), nodes["threshold"].astype(float), strict=True)
        else:
            names = list(booster.feature_names or [f"f{at}" for at in range(booster.num_features())])
            nodes = nodes[(nodes["Feature"] != "Leaf") & nodes["Split"].notna()]
            yield from zip(map(names.index, nodes["Feature"]), nodes["Split"].astype(float), strict=True)


class _Booster(Protocol):
    """What both libraries' boosters can tell of themselves."""

    feature_names: Sequence[str] | None

    def trees_to_dataframe(self) -> pd.DataFrame:
        """One line a node."""

    def feature_name(self) -> Sequence[str]:
        """LightGBM's names."""

    def num_features(self) -> int:
        """XGBoost's width."""


def _booster(estimator: object) -> _Booster | None:
    """The library's own object inside of an estimator; some estimators have a setting of that name."""
    if hasattr(estimator, "get_booster"):
        found: object = estimator.get_booster()
    else:
        found = getattr(estimator, "booster_", None) or getattr(estimator, "booster", None)
    return cast(_Booster, found) if hasattr(found, "trees_to_dataframe") else None
