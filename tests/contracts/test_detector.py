"""What every detector of the table keeps: few false alarms, a bounded delay, and calm in the face of odd windows."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from penstock import adapters
from penstock.observe import windows
from penstock.observe.detector import Detector, Reading
from penstock.observe.windows import Calendar, Observations, Window
from penstock.statistics.reference import MIN_ROWS, Reference, make_reference

DAY = 86_400.0
PER_DAY = 600
NAMES = list(adapters.TABLE["detector"])


def stream(seed: int, days: int, *, start: int = 0, mood: float = 0.0) -> Observations:
    """Scores that are right on average; with a mood, all rows of a day are off together."""
    random = np.random.default_rng(seed)
    n = days * PER_DAY
    times = start * DAY + np.sort(random.uniform(0, days * DAY, n))
    scores = random.beta(2, 3, n)
    logit = np.log(scores / (1 - scores)) + random.normal(0, mood, days)[((times // DAY) - start).astype(int)]
    labels = (random.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    site = random.choice(np.array(["north", "south"], dtype=object), n)
    wave = 0.5 * np.sin(2 * np.pi * times / DAY)
    return Observations(times, scores, labels, {"x": random.normal(size=n) + wave, "site": site})


def broken(name: str, rows: Observations) -> Observations:
    """The same rows with the fault that a detector is there to find."""
    random = np.random.default_rng(9)
    x, scores, labels = rows.columns["x"].copy(), rows.scores.copy(), rows.labels.copy()
    if name == "distribution":
        x = x + 1.0
    elif name == "schema":
        x[random.random(len(x)) < 0.05] = np.nan
    elif name == "calibration":
        labels = (random.random(len(x)) < scores / 2).astype(float)
    elif name == "risk":
        labels = (random.random(len(x)) < 1 - scores).astype(float)
    else:
        scores = random.beta(40, 40, len(x))
    return Observations(rows.times, scores, labels, {**rows.columns, "x": x})


@cache
def reference(mood: float = 0.0) -> Reference:
    known = stream(1, 24, mood=mood)
    return make_reference(known.columns, scores=known.scores, labels=known.labels, times=known.times)


def fitted(name: str, mood: float = 0.0) -> Detector:
    detector: Detector = adapters.load("detector", name)()
    detector.fit(reference(mood))
    return detector


def cut(detector: Detector, rows: Observations) -> list[Window]:
    minimum = MIN_ROWS if detector.hours() == 24 and detector.source == "predictions" else 1
    calendar = Calendar(reference().profile, detector.hours(), minimum=minimum)
    return calendar.add(rows) + calendar.flush()


def raised(readings: list[Reading]) -> set[str]:
    return {reading.cause for reading in readings if reading.raised}


@pytest.mark.parametrize("mood", [0.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_raised_where_nothing_changed(name: str, mood: float) -> None:
    for seed in (11, 12, 13):
        detector = fitted(name, mood)
        found = [raised(detector.score(window)) for window in cut(detector, stream(seed, 30, start=50, mood=mood))]
        assert not set().union(*found)


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_raised_in_time_and_closes_after_its_end(name: str) -> None:
    detector = fitted(name)
    parts = [stream(21, 5, start=50), broken(name, stream(22, 5, start=55)), stream(23, 5, start=60)]
    when = [(window.end / DAY, raised(detector.score(window))) for window in cut(detector, windows.stack(parts))]
    opened = [end for end, causes in when if causes]
    assert opened, "the fault was never found"
    assert 55 < opened[0] <= 58
    assert opened[-1] <= 62, "it is still open two days after its end"


@pytest.mark.parametrize("name", NAMES)
def test_every_alarm_says_what_it_means(name: str) -> None:
    detector = fitted(name)
    readings = [
        reading
        for window in cut(detector, broken(name, stream(31, 5, start=50)))
        for reading in detector.score(window)
        if reading.raised
    ]
    assert readings
    for reading in readings:
        assert reading.title
        assert any(letter.isdigit() for letter in reading.effect), "an effect has figures"
        assert reading.guarantee
        assert reading.closes
        assert reading.severity in ("page", "ticket", "record")


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_merging_makes_no_difference(name: str) -> None:
    rows = broken(name, stream(41, 6, start=50))
    found = []
    for order in ("whole", "forward", "backward"):
        detector = fitted(name)
        readings = []
        for window in cut(detector, rows):
            half = np.arange(len(window.rows)) % 2 == 0
            pieces = [
                windows.window_of(
                    window.rows.take(np.flatnonzero(which)),
                    reference().profile,
                    hours=window.hours,
                    start=window.start,
                    end=window.end,
                )
                for which in (half, ~half)
            ]
            merged = {
                "whole": lambda window=window: window,
                "forward": lambda pieces=pieces: windows.merge(*pieces),
                "backward": lambda pieces=pieces: windows.merge(*reversed(pieces)),
            }[order]()
            readings.append([(one.cause, one.raised, one.columns) for one in detector.score(merged)])
        found.append(readings)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", NAMES)
def test_odd_windows_do_no_harm(name: str) -> None:
    rows = stream(51, 2, start=50)
    nothing = rows.take(np.empty(0, dtype=np.int64))
    n = len(rows)
    odd = {
        "empty": nothing,
        "all missing": Observations(
            rows.times, np.full(n, np.nan), np.full(n, np.nan), {"x": np.full(n, np.nan), "site": np.full(n, None)}
        ),
        "no labels": Observations(rows.times, rows.scores, np.full(n, np.nan), rows.columns),
        "unseen": Observations(rows.times, rows.scores, rows.labels, {**rows.columns, "site": np.full(n, "moon")}),
        "fewer columns": Observations(rows.times, rows.scores, rows.labels, {}),
        "infinite": Observations(rows.times, rows.scores, rows.labels, {**rows.columns, "x": np.full(n, np.inf)}),
    }
    for kind, given in odd.items():
        detector = fitted(name)
        for part in cut(detector, given) if len(given) else [window(nothing)]:
            detector.score(part)
        if kind in ("empty", "no labels") and detector.source == "outcomes":
            assert detector.score(window(given)) == []
    assert fitted(name).score(window(nothing)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_bare_reference_raises_nothing(name: str) -> None:
    """Without times and labels a detector learns or says nothing; it does not guess."""
    known = stream(61, 5)
    for labels in (known.labels, None):
        detector: Detector = adapters.load("detector", name)()
        detector.fit(make_reference(known.columns, scores=known.scores, labels=labels))
        for part in cut(detector, stream(62, 25, start=50, mood=0.3)):
            assert not raised(detector.score(part))


@pytest.mark.parametrize("name", NAMES)
def test_fitting_again_forgets(name: str) -> None:
    detector = fitted(name)
    for part in cut(detector, broken(name, stream(71, 4, start=50))):
        detector.score(part)
    detector.fit(reference())
    readings = [detector.score(part) for part in cut(detector, stream(72, 4, start=60))]
    assert not any(raised(found) for found in readings)


def window(rows: Observations) -> Window:
    return windows.window_of(rows, reference().profile, hours=24, start=50 * DAY, end=52 * DAY)
