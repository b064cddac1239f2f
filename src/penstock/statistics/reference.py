"""What is ordinary for a model: the reference that production is held against, kept as a package's ``profile.json``.

What comes in: the rows of a validation set (not the training set), the model's scores on them, labels and times
where there are any. What goes out: a `Reference`: histograms, how far its own calendar windows lie apart, how much
its own days differ, a calibration curve. No row of anybody is in it.

Without times a reference knows nothing of windows and days; the monitor then learns them from the first it sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from penstock import records
from penstock.errors import Corrupt
from penstock.records import Record
from penstock.statistics import blocks, calibration, distances, estimation, histograms
from penstock.statistics.blocks import Spread
from penstock.statistics.calibration import CalibrationCurve
from penstock.statistics.estimation import PerformanceEstimate
from penstock.statistics.histograms import Profile
from penstock.tensors import Array

FORMAT = 1
"""Raise it when `Reference` changes so that an old reader would misread it."""

SCORE = "@score"
"""The score's column in a profile; no input can be called so."""

HOURS = (24, 6)
MIN_ROWS = 500
MIN_WINDOWS = 10
SLICE_SHARE = 0.02
SLICE_CATEGORIES = 20

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Task = Literal["classification", "regression"]


class Windows(Record, frozen=True, kw_only=True):
    """How far windows of one length lie from their whole.

    Attributes:
        largest: Column to the largest PSI of a window.
        missing: Column to the largest share of missing values in a window; `unusual` likewise.
        lowest: Metric (auc, accuracy) to the lowest estimate without labels of a window.
    """

    hours: int
    count: int
    largest: dict[str, float] = {}
    missing: dict[str, float] = {}
    unusual: dict[str, float] = {}
    lowest: dict[str, float] = {}


class ReferenceSlice(Record, frozen=True, kw_only=True):
    """Rows that share a category, and how the model did on them."""

    column: str
    category: str
    share: float
    residual: Spread
    loss: Spread

    @property
    def name(self) -> str:
        """``carrier=EV``."""
        return f"{self.column}={self.category}"


class Reference(Record, frozen=True, kw_only=True):
    """What production is held against.

    Attributes:
        profile: Histograms of the inputs and, as `SCORE`, of the scores.
        start_h: Hour (UTC) at which a day starts: the quietest one, so that few events straddle two days.
        residual: Label less calibrated frequency; None without labels or for a regression.
        loss: Brier loss of a classification; of a regression the absolute error in units of `scale`, at most 1.
        curve: Score to frequency; None without labels or for a regression.
        rate: Mean label.
        scale: Unit of a regression's loss: the 99 % quantile of the reference's absolute errors.
        estimates: The estimates without labels for the reference itself.
    """

    profile: Profile
    task: Task = "classification"
    labelled: int = 0
    start_h: int = 0
    windows: tuple[Windows, ...] = ()
    residual: Spread | None = None
    loss: Spread | None = None
    curve: CalibrationCurve | None = None
    reliability: tuple[calibration.Bin, ...] = ()
    rate: float = 0.0
    scale: float = 1.0
    estimates: tuple[PerformanceEstimate, ...] = ()
    slices: tuple[ReferenceSlice, ...] = ()
    format: int = FORMAT

    def window(self, hours: int) -> Windows | None:
        """The spread of windows of that length; None where too few were seen to tell."""
        return next((known for known in self.windows if known.hours == hours and known.count >= MIN_WINDOWS), None)


def make_reference(
    columns: Mapping[str, Array],
    *,
    scores: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    times: npt.ArrayLike | None = None,
    task: Task = "classification",
) -> Reference:
    """Measure what is ordinary, from rows the model was not trained on.

    Args:
        columns: Inputs by name, each of shape ``(rows,)`` or ``(rows, 1)``.
        scores: A classification's chance of the positive class (of the answered class, where there are more than
            two); a regression's prediction.
        labels: 1 where the positive (or answered) class was right, else 0; a regression's number. NaN: not known.
        times: Event times, seconds since the epoch.
        task: What the model answers.
    """
    score = np.asarray(scores, float).reshape(-1)
    truth = np.full(len(score), np.nan) if labels is None else np.asarray(labels, float).reshape(-1)
    when = None if times is None else np.asarray(times, float).reshape(-1)
    table = {name: np.asarray(values).reshape(-1) for name, values in columns.items()} | {SCORE: score}
    reference = Reference(
        profile=histograms.fit(table), task=task, start_h=0 if when is None else blocks.quietest_hour(when)
    )
    if np.isfinite(truth).any():
        days = None if when is None else blocks.block_of(when, 24, reference.start_h)
        reference = _labelled(reference, table, truth, days)
    if when is not None:
        reference = replace(reference, windows=tuple(_windows(reference, table, when, hours) for hours in HOURS))
    return reference


def losses(reference: Reference, scores: Floats, labels: Floats) -> Floats:
    """The loss of each row, 0 to 1: Brier's, or the absolute error in units of the reference's scale."""
    if reference.task == "regression":
        return np.minimum(np.abs(labels - scores) / reference.scale, 1.0)
    return (labels - scores) ** 2


def residuals(reference: Reference, scores: Floats, labels: Floats) -> Floats:
    """Label less the frequency that the reference's curve gives the score."""
    return labels - (scores if reference.curve is None else calibration.apply(reference.curve, scores))


def estimates(reference: Reference, scores: Floats) -> tuple[PerformanceEstimate, ...]:
    """Figures of merit expected of these scores while no labels have come; none without a curve."""
    if reference.curve is None:
        return ()
    return estimation.estimate(scores, calibration.apply(reference.curve, scores))


def windows_of(profiles: list[Profile], hours: int) -> Windows:
    """How far windows lie from all of them together; their bins must be the same."""
    if not profiles:
        return Windows(hours=hours, count=0)
    whole = profiles[0]
    for profile in profiles[1:]:
        whole = histograms.merge(whole, profile)
    largest: dict[str, float] = {}
    missing: dict[str, float] = {}
    unusual: dict[str, float] = {}
    for name, total in whole.columns.items():
        parts = [profile.columns[name] for profile in profiles]
        seen = [part for part in parts if part.rows]
        largest[name] = max((distances.psi(total.body(), part.body()) for part in seen), default=0.0)
        missing[name] = max((part.missing / part.rows for part in seen), default=0.0)
        unusual[name] = max((part.unusual / part.rows for part in seen), default=0.0)
    return Windows(hours=hours, count=len(profiles), largest=largest, missing=missing, unusual=unusual)


def decode(data: bytes | str) -> Reference:
    """Read a reference back.

    Raises:
        Corrupt: Not a reference, or of a format that this version does not know.
    """
    found = records.decode(data, Reference)
    if found.format != FORMAT:
        raise Corrupt(f"the reference has format {found.format}, known is {FORMAT}", "update penstock")
    return found


def _windows(reference: Reference, table: Mapping[str, Array], when: Floats, hours: int) -> Windows:
    """The reference cut into its own calendar windows."""
    place = blocks.merge_small(blocks.block_of(when, hours, reference.start_h), MIN_ROWS)
    order = np.argsort(place, kind="stable")
    cuts = np.flatnonzero(np.diff(place[order])) + 1
    parts = np.split(order, cuts)
    profiles = [
        histograms.count(reference.profile, {name: values[rows] for name, values in table.items()}) for rows in parts
    ]
    found = [known for rows in parts for known in estimates(reference, np.asarray(table[SCORE], float)[rows])]
    valid = [known for known in found if known.valid]
    lowest = {
        metric: min(known.value for known in valid if known.metric == metric)
        for metric in {known.metric for known in valid} - {"brier"}
    }
    return replace(windows_of(profiles, hours), lowest=lowest)


def _labelled(reference: Reference, table: Mapping[str, Array], truth: Floats, days: Places | None) -> Reference:
    """The reference with what its labels tell."""
    score = np.asarray(table[SCORE], float)
    known = np.isfinite(truth) & np.isfinite(score)
    reference = replace(reference, labelled=int(known.sum()), rate=float(truth[known].mean()))
    if reference.task == "regression":
        scale = float(np.quantile(np.abs(truth - score)[known], 0.99))
        reference = replace(reference, scale=scale or 1.0)
    else:
        curve = calibration.isotonic(score[known], truth[known])
        reference = replace(reference, curve=curve, reliability=calibration.reliability(score[known], truth[known]))
    residual, loss = residuals(reference, score, truth), losses(reference, score, truth)
    reference = replace(reference, estimates=estimates(reference, score))
    return replace(
        reference,
        residual=blocks.spread(residual, days) if reference.task == "classification" else None,
        loss=blocks.spread(loss, days),
        slices=tuple(
            ReferenceSlice(
                column=column,
                category=category,
                share=float(rows.mean()),
                residual=blocks.spread(residual[rows], None if days is None else days[rows]),
                loss=blocks.spread(loss[rows], None if days is None else days[rows]),
            )
            for column, category, rows in _slices(reference.profile, table)
        ),
    )


def _slices(profile: Profile, table: Mapping[str, Array]) -> list[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Rows of every category that holds enough of them, of columns with few categories."""
    found = []
    for name, histogram in profile.columns.items():
        if histogram.kind != "text" or len(histogram.categories) > SLICE_CATEGORIES:
            continue
        texts = np.asarray(table[name]).astype(str)
        for category, count in zip(histogram.categories, histogram.counts, strict=False):
            if count >= SLICE_SHARE * profile.rows:
                found.append((name, category, texts == category))
    return found
