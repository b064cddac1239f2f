"""The monitor as a whole: quiet streams stay quiet, real faults are named, a rebuilt monitor is the same."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.observe import windows
from penstock.observe.metrics import exposition
from penstock.observe.monitor import Monitor, open_monitor
from penstock.observe.windows import Observations
from penstock.records import Incident
from streams_for_tests import DAY, HOUR, reference_of, rows


def feed(monitor: Monitor, given: Observations, batch: int = 5_000) -> list[Incident]:
    found: list[Incident] = []
    for start in range(0, len(given), batch):
        part = given.take(np.arange(start, min(start + batch, len(given))))
        found += monitor.predictions(part)
        found += monitor.outcomes(part)
    return found + monitor.flush()


@pytest.mark.parametrize("season", [0.0, 0.5])
def test_quiet_weeks_raise_nothing(season: float) -> None:
    """Goals 1, 2 and 15, scaled: 20 columns, windows of a day and of six hours, a page budget of none."""
    reference = reference_of(rows(1, 28, 2_000, season=season))
    found = feed(open_monitor("quiet", reference), rows(2, 14, 2_000, start=28 * DAY, season=season))
    assert [incident.title for incident in found] == []


def test_days_with_moods_raise_nothing_though_rows_would() -> None:
    """Clustered days, as the flights have them: the day is the unit."""
    reference = reference_of(rows(1, 40, 800, columns=3, moody=0.5))
    assert reference.residual is not None
    assert reference.residual.clustered
    for seed in range(10, 13):
        stream = rows(seed, 60, 800, start=70 * DAY, columns=3, moody=0.5)
        assert [one for one in feed(open_monitor("moody", reference), stream) if one.severity != "record"] == []


def test_moved_columns_are_named_within_two_windows() -> None:
    """Goal 3: three of twenty columns move by a quarter of a standard deviation."""
    reference = reference_of(rows(1, 28, 4_000))
    named = []
    for seed in range(2):
        before, after = rows(20 + seed, 3, 4_000, start=29 * DAY), rows(30 + seed, 3, 4_000, start=32 * DAY)
        for name in ("x0", "x1", "x2"):
            after.columns[name] = after.columns[name] + 0.25 * np.std(before.columns[name])
        monitor = open_monitor("drift", reference)
        assert feed(monitor, before) == []
        found = [one for one in feed(monitor, after) if not one.closed_at]
        assert {one.severity for one in found} == {"record"}
        assert min(one.opened_at for one in found) <= 34 * DAY
        named += [column for one in found[-1:] for column in one.evidence["columns"]]
    assert set(named) >= {"x0", "x1", "x2"}
    assert sum(name in ("x0", "x1", "x2") for name in named) / len(named) >= 0.9


def test_a_bad_slice_is_named() -> None:
    """Goal 9: one device in ten goes wrong; found within 300 of its labels."""
    reference = reference_of(rows(1, 28, 1_500))
    bad = rows(41, 6, 1_500, start=28 * DAY)
    there = np.flatnonzero(bad.columns["device"] == "d3")
    bad.labels[there] = (np.random.default_rng(0).random(len(there)) < 1 - bad.scores[there]).astype(float)
    found = feed(open_monitor("slice", reference), bad)
    page = next(one for one in found if one.severity == "page")
    assert page.cause == "risk:device=d3"
    assert page.evidence["measured"]["found_after"] <= 300
    assert (page.opened_at - 28 * DAY) / DAY * 150 <= 300


def test_a_wrong_unit_is_a_page_within_hours() -> None:
    reference = reference_of(rows(1, 28, 1_500, columns=5))
    bad = rows(42, 3, 1_500, start=28 * DAY, columns=5)
    wrong = np.random.default_rng(0).random(len(bad)) < 0.03
    bad.columns["x0"] = np.where(wrong, bad.columns["x0"] * 100, bad.columns["x0"])
    found = feed(open_monitor("unit", reference), bad)
    page = next(one for one in found if one.cause == "schema:unusual")
    assert (page.severity, page.evidence["columns"]) == ("page", ["x0"])
    assert page.opened_at <= 28 * DAY + 12 * HOUR


def test_an_incident_closes_by_itself() -> None:
    reference = reference_of(rows(1, 28, 1_500, columns=5))
    stream = windows.stack(
        [
            rows(50, 3, 1_500, start=28 * DAY, columns=5),
            _nulls(rows(51, 2, 1_500, start=31 * DAY, columns=5)),
            rows(52, 4, 1_500, start=33 * DAY, columns=5),
        ]
    )
    found = feed(open_monitor("closing", reference), stream)
    closed = [one for one in found if one.cause == "schema:missing" and one.closed_at]
    assert len(closed) == 1
    assert 33 * DAY < closed[0].closed_at <= 33 * DAY + 3 * HOUR


def test_any_batches_and_a_rebuilt_monitor_find_the_same() -> None:
    reference = reference_of(rows(1, 20, 800, columns=4))
    stream = _nulls(rows(60, 6, 800, start=28 * DAY, columns=4))
    whole = feed(open_monitor("e", reference), stream, len(stream))
    small = feed(open_monitor("e", reference), stream, 97)
    assert _by_cause(whole) == _by_cause(small) != []


def test_what_is_estimated_meets_what_is_realised() -> None:
    reference = reference_of(rows(1, 28, 1_500, columns=3))
    monitor = open_monitor("quality", reference)
    feed(monitor, rows(70, 5, 1_500, start=28 * DAY, columns=3))
    assert len(monitor.history) == 5
    for day in monitor.history:
        estimated = {known.metric: known for known in day.estimates}
        for known in day.realised:
            assert estimated[known.metric].valid
            assert known.low - 0.03 <= estimated[known.metric].value <= known.high + 0.03


def test_the_exporter_speaks_prometheus() -> None:
    reference = reference_of(rows(1, 28, 1_500, columns=3))
    monitor = open_monitor("exported", reference)
    feed(monitor, _nulls(rows(80, 3, 1_500, start=28 * DAY, columns=3)))
    text = exposition([monitor]).decode()
    assert 'penstock_incidents_open{endpoint="exported",severity="page"} 1.0' in text
    assert 'penstock_drift_psi{column="score",endpoint="exported"}' in text
    assert 'penstock_quality_realised{endpoint="exported",metric="auc"}' in text
    assert "nan" not in text.lower()


def test_without_times_the_first_days_teach() -> None:
    """A reference without times: the monitor learns ten windows, says nothing meanwhile, then finds a real fault."""
    reference = reference_of(rows(1, 10, 1_500, columns=3), times=False)
    monitor = open_monitor("learning", reference)
    assert feed(monitor, rows(90, 14, 1_500, start=28 * DAY, columns=3, season=0.3)) == []
    late = rows(91, 6, 1_500, start=42 * DAY, columns=3, season=0.3)
    late.columns["x0"] = late.columns["x0"] + 2
    assert "drift" in {one.cause for one in feed(monitor, late)}


def _nulls(given: Observations) -> Observations:
    x = given.columns["x0"].copy()
    x[np.random.default_rng(5).random(len(x)) < 0.05] = np.nan
    return Observations(given.times, given.scores, given.labels, {**given.columns, "x0": x})


def _by_cause(found: list[Incident]) -> list[tuple[str, float, float]]:
    return sorted((one.cause, one.opened_at, one.closed_at) for one in found)
