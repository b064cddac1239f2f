"""Realised quality by version, variant and age."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from penstock.feedback.score import scores

DAY = 86_400.0


def table(ages: list[float], versions: list[int], labels: list[float], score: list[float]) -> pa.Table:
    n = len(ages)
    return pa.table(
        {
            "model": ["m"] * n,
            "version": versions,
            "variant": ["stable"] * n,
            "event_time": [1000 * DAY - age * DAY for age in ages],
            "score": score,
            "label": labels,
        }
    )


def test_ages_and_versions_are_not_mixed() -> None:
    found = scores(table([0.5, 3, 3, 90], [1, 1, 2, 2], [1.0, 0.0, np.nan, 1.0], [0.5, 0.5, 0.5, 1.0]), now=1000 * DAY)
    assert [(one.version, one.maturity, one.answered, one.labelled, one.loss) for one in found] == [
        (1, "up to 1 d", 1, 1, 0.25),
        (1, "up to 7 d", 1, 1, 0.25),
        (2, "up to 7 d", 1, 0, 0.0),
        (2, "older", 1, 1, 0.0),
    ]


def test_the_error_takes_the_day_as_its_unit() -> None:
    days = np.repeat(np.arange(10, 20), 100)
    good = np.where(days % 2 == 0, 1.0, 0.0)
    found = scores(table((days + 0.5).tolist(), [1] * 1000, good.tolist(), [1.0] * 1000), now=1000 * DAY)
    assert found[0].loss == pytest.approx(0.5)
    assert found[0].error > 0.15, "1,000 rows of ten days are ten observations"


def test_nothing_gives_nothing() -> None:
    assert scores(table([], [], [], []), now=0.0) == ()
