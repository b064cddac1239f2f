"""How good each version's answers turned out, and how many of them one can say that of.

What comes in: the joined table with ``label``. What goes out: a `Score` per version, variant and maturity. Early
outcomes are no random sample (complaints come first), so answers of different age are never mixed.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from penstock.records import Record

Floats = npt.NDArray[np.float64]

DAY_S = 86_400.0
COHORTS_D = (1.0, 7.0, 30.0, math.inf)
"""Upper ends of the maturity cohorts, in days between a prediction and now."""


class Score(Record, frozen=True, kw_only=True):
    """One version and variant, answers of one age.

    Attributes:
        maturity: ``up to 1 d``, ``up to 7 d``, ``up to 30 d``, ``older``.
        answered: Predictions; `labelled` of them have an outcome.
        loss: Mean Brier loss, or squared error of a regression; 0 without labels.
        error: Standard error of the loss, days being the unit where there are three or more.
        rate: Mean label; `mean_score` the mean score of the labelled rows.
    """

    model: str
    version: int
    variant: str
    maturity: str
    answered: int
    labelled: int
    loss: float = 0.0
    error: float = 0.0
    rate: float = 0.0
    mean_score: float = 0.0


def scores(joined: pa.Table, *, now: float) -> tuple[Score, ...]:
    """Realised quality by version, variant and maturity, oldest cohort last.

    Args:
        joined: With ``model``, ``version``, ``variant``, ``event_time``, ``score``, ``label``.
        now: Event time to measure age from; never the wall clock.
    """
    age = (now - joined["event_time"].to_numpy().astype(float)) / DAY_S
    cohort = np.searchsorted(np.array(COHORTS_D[:-1]), age, side="left")
    names = zip(*(joined[name].to_pylist() for name in ("model", "version", "variant")), strict=True)
    groups: dict[tuple[str, int, str, int], list[int]] = {}
    for row, ((model, version, variant), old) in enumerate(zip(names, cohort.tolist(), strict=True)):
        groups.setdefault((model, version, variant, old), []).append(row)
    score = joined["score"].to_numpy().astype(float)
    label = joined["label"].to_numpy().astype(float)
    days = np.floor(joined["event_time"].to_numpy().astype(float) / DAY_S)
    return tuple(
        _score(name, score[rows], label[rows], days[rows])
        for name, rows in ((name, np.array(rows)) for name, rows in sorted(groups.items()))
    )


def _score(name: tuple[str, int, str, int], score: Floats, label: Floats, days: Floats) -> Score:
    model, version, variant, old = name
    maturity = f"up to {COHORTS_D[old]:g} d" if math.isfinite(COHORTS_D[old]) else "older"
    there = np.isfinite(score) & np.isfinite(label)
    bare = Score(
        model=model, version=version, variant=variant, maturity=maturity, answered=len(score), labelled=int(there.sum())
    )
    if not there.any():
        return bare
    losses = (label[there] - score[there]) ** 2
    return Score(
        model=model,
        version=version,
        variant=variant,
        maturity=maturity,
        answered=bare.answered,
        labelled=bare.labelled,
        loss=float(losses.mean()),
        error=_error(losses, days[there]),
        rate=float(label[there].mean()),
        mean_score=float(score[there].mean()),
    )


def _error(losses: Floats, days: Floats) -> float:
    """Standard error of the mean, by day where there are at least three."""
    place = np.unique(days, return_inverse=True)[1]
    means = np.bincount(place, weights=losses) / np.bincount(place)
    units = means if len(means) > 2 else losses
    return float(units.std(ddof=1) / math.sqrt(len(units))) if len(units) > 1 else 0.0
