"""The reference: what it measures, with and without times and labels."""

from __future__ import annotations

import numpy as np
import pytest

from penstock import records
from penstock.errors import Corrupt
from penstock.statistics import reference
from penstock.statistics.reference import SCORE, Reference, make_reference

DAY = 86_400.0


def made(*, labels: bool = True, times: bool = True, task: str = "classification") -> Reference:
    random = np.random.default_rng(0)
    n = 12_000
    when = np.sort(random.uniform(0, 20 * DAY, n))
    site = random.choice(np.array(["north", "south", "tiny"], dtype=object), n, p=[0.6, 0.395, 0.005])
    score = random.uniform(0.1, 0.6, n)
    truth = random.normal(score, 0.1) if task == "regression" else (random.random(n) < score).astype(float)
    truth[::7] = np.nan
    return make_reference(
        {"x": random.normal(size=n), "site": site},
        scores=score,
        labels=truth if labels else None,
        times=when if times else None,
        task=task,
    )


def test_it_holds_what_the_monitors_need() -> None:
    found = made()
    assert found.profile.columns.keys() == {"x", "site", SCORE}
    assert [(known.hours, known.count) for known in found.windows] == [(24, 20), (6, pytest.approx(20, abs=3))]
    assert found.windows[0].largest["x"] < 0.05
    assert found.residual is not None
    assert not found.residual.clustered
    assert abs(found.residual.mean) < 0.01
    assert {known.name for known in found.slices} == {"site=north", "site=south"}
    assert found.labelled == pytest.approx(12_000 * 6 / 7, abs=2)


def test_without_times_or_labels_it_says_less() -> None:
    bare = made(labels=False, times=False)
    assert (bare.windows, bare.residual, bare.loss, bare.curve, bare.slices) == ((), None, None, None, ())
    assert bare.window(24) is None
    timeless = made(times=False).residual
    assert timeless is not None
    assert not timeless.known


def test_a_regression_has_a_loss_but_no_calibration() -> None:
    found = made(task="regression")
    assert (found.residual, found.curve) == (None, None)
    assert found.loss is not None
    assert 0 < found.loss.mean < 1


def test_it_survives_writing_and_is_small() -> None:
    found = made()
    data = records.encode(found)
    assert reference.decode(data) == found
    assert len(data) < 64 * 1024
    with pytest.raises(Corrupt):
        reference.decode(data.replace(b'"profile"', b'"format":9,"profile"', 1))
