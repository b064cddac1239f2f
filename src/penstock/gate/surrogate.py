"""How much a holdout flatters: a small model of our own, trained twice (part of ``gate``).

    as the files have it   train file -> surrogate -> holdout
    by whole units         rows of other days, as many of them -> surrogate -> the same holdout rows

What comes in: train and holdout rows whose units (days, groups) overlap. What goes out: how much better the first
surrogate looks on the very same rows. The candidate's own training code is not needed; what a boosted tree can
read off a row's neighbours of the same day, the candidate could read off too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from penstock.gate.answers import codes_of
from penstock.gate.check import LabelledRows
from penstock.gate.features import features_of
from penstock.records import Manifest
from penstock.statistics.metrics import Answers, FloatArray, IntArray, fitting, value
from penstock.tensors import Array

FOLDS = 4
MAX_TRAIN = 24_000
MAX_HOLDOUT = 12_000
ROUNDS = 80
LEAVES = 31
LEARNING_RATE = 0.15


@dataclass(frozen=True, kw_only=True)
class Optimism:
    """What the overlap is worth to a surrogate.

    Attributes:
        metric: Name of the metric.
        given: On the holdout, trained on the train file.
        honest: On the same rows, trained on rows of other units.
        folds: Given minus honest in each fold of units; positive flatters.
        rows: LabelledRows trained on, each time.
    """

    metric: str
    given: float
    honest: float
    folds: tuple[float, ...]
    rows: int

    @property
    def value(self) -> float:
        """How much the holdout flatters."""
        return self.given - self.honest


@dataclass(frozen=True)
class _Table:
    """LabelledRows as a surrogate takes them."""

    features: FloatArray
    target: FloatArray
    units: IntArray

    def take(self, index: IntArray) -> _Table:
        return _Table(self.features[index], self.target[index], self.units[index])


def optimism(
    manifest: Manifest, train: LabelledRows, holdout: LabelledRows, units: tuple[IntArray, IntArray], *, seed: int
) -> Optimism | None:
    """Measure it.

    Args:
        manifest: Task and classes.
        train: LabelledRows of the train file.
        holdout: LabelledRows of the validation file.
        units: Units of the train rows and of the holdout rows, numbered alike.
        seed: Of folds, samples and surrogates.

    Returns:
        None where there are too few units, or no fold gives the metric.
    """
    # One thread: fits as small as these only lose by waiting for each other on a busy machine.
    with threadpool_limits(limits=1):
        return _measure(manifest, train, holdout, units, seed)


def _measure(
    manifest: Manifest, train: LabelledRows, holdout: LabelledRows, units: tuple[IntArray, IntArray], seed: int
) -> Optimism | None:
    """One surrogate on the train file; one for each fold of units, on as many rows of the other folds."""
    generator = np.random.default_rng(seed)
    columns = features_of([train.inputs, holdout.inputs])
    known = _Table(columns[0], _target(manifest, train.labels), units[0])
    asked = _Table(columns[1], _target(manifest, holdout.labels), units[1]).take(
        _drawn(len(holdout), MAX_HOLDOUT, generator)
    )
    every = _Table(
        np.concatenate(columns),
        np.concatenate([known.target, _target(manifest, holdout.labels)]),
        np.concatenate([known.units, units[1]]),
    )
    fold_of = _folds(every.units, generator)
    if fold_of is None:
        return None
    rows = min(len(known.target), MAX_TRAIN, *(int((fold_of[every.units] != fold).sum()) for fold in range(FOLDS)))
    flattered = _fit(manifest, known.take(_drawn(len(known.target), rows, generator)), seed)
    found: list[tuple[float, float]] = []
    for fold in range(FOLDS):
        mine = asked.take(np.flatnonzero(fold_of[asked.units] == fold))
        others = np.flatnonzero(fold_of[every.units] != fold)
        honest = _fit(manifest, every.take(others[_drawn(len(others), rows, generator)]), seed)
        pair = (_score(manifest, flattered, mine), _score(manifest, honest, mine))
        if pair[0] is not None and pair[1] is not None:
            found.append((pair[0], pair[1]))
    if not found:
        return None
    given, fair = np.array(found).T
    return Optimism(
        metric="auc" if manifest.task == "classification" else "r2",
        given=float(given.mean()),
        honest=float(fair.mean()),
        folds=tuple(float(one) for one in given - fair),
        rows=rows,
    )


def _folds(units: IntArray, generator: np.random.Generator) -> IntArray | None:
    """Fold of each unit number, units dealt out at random; None with fewer units than twice the folds."""
    present = np.unique(units)
    if len(present) < 2 * FOLDS:
        return None
    fold_of = np.full(int(present.max()) + 1, -1, dtype=np.int64)
    fold_of[generator.permutation(present)] = np.arange(len(present)) % FOLDS
    return fold_of


def _drawn(rows: int, most: int, generator: np.random.Generator) -> IntArray:
    """Indices of at most so many rows."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(generator.choice(rows, size=most, replace=False)).astype(np.int64)


def _target(manifest: Manifest, labels: Array) -> FloatArray:
    if manifest.task == "regression":
        return labels.reshape(-1).astype(np.float64)
    return codes_of(manifest, labels)


def _fit(
    manifest: Manifest, table: _Table, seed: int
) -> HistGradientBoostingClassifier | HistGradientBoostingRegressor:
    kind = HistGradientBoostingClassifier if manifest.task == "classification" else HistGradientBoostingRegressor
    model = kind(
        max_iter=ROUNDS,
        max_leaf_nodes=LEAVES,
        learning_rate=LEARNING_RATE,
        min_samples_leaf=10,
        early_stopping=False,
        random_state=seed,
    )
    return model.fit(table.features, table.target)


def _score(
    manifest: Manifest, model: HistGradientBoostingClassifier | HistGradientBoostingRegressor, table: _Table
) -> float | None:
    """The surrogate's metric on some rows; None where they cannot give it."""
    if not len(table.target):
        return None
    answer: npt.NDArray[np.float64] = model.predict(table.features).astype(np.float64)
    if manifest.task == "regression":
        answers = Answers(truth=table.target, answer=answer)
    else:
        scores = np.zeros((len(answer), len(manifest.classes)))
        scores[:, model.classes_.astype(np.int64)] = model.predict_proba(table.features)
        answers = Answers(
            truth=table.target, answer=answer, scores=scores, probable=True, classes=len(manifest.classes)
        )
    return value(fitting(answers)[0].name, answers)
