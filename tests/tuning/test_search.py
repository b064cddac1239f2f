"""Successive halving on machines that are made up, so that the best setting is known."""

from __future__ import annotations

import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.records import Batching, Sizing
from penstock.tuning.driver import Sample
from penstock.tuning.search import LAST, Stretch, Trial, choose, search
from penstock.tuning.settings import Setting, grid

P99_S = 0.05


class Machine:
    """Answers as many a second as it was told for each setting; p99 grows with the connections."""

    def __init__(self, speed: dict[Setting, float], *, noise: float = 0.0, seed: int = 0) -> None:
        self.speed = speed
        self.noise = noise
        self.random = random.Random(seed)
        self.asked: list[Setting] = []
        self.fails: set[Setting] = set()

    def __call__(self, setting: Setting, connections: int, seconds: float) -> Stretch:
        self.asked.append(setting)
        # What else a machine does only ever slows.
        per_s = self.speed[setting] * (1 - self.noise * self.random.random()) * min(connections / 4, 1)
        count = max(int(per_s * seconds), 1)
        latency = connections / per_s
        sample = Sample(array("d", [latency] * count), 1 if setting in self.fails else 0, seconds, 0.3)
        return Stretch(sample, 0.5 * seconds, idle=1.0, cpus=2)


def settings(count: int) -> list[Setting]:
    return [Setting(sizing=Sizing(workers=1), batching=Batching(rows=index)) for index in range(1, count + 1)]


@given(best=st.integers(0, 15), seed=st.integers(0, 1000))
def test_the_best_is_found_although_other_things_run(best: int, seed: int) -> None:
    tried = settings(16)
    speed = {setting: 1000.0 + 50 * index for index, setting in enumerate(tried)}
    speed[tried[best]] = 4000.0
    trials = search(tried, Machine(speed, noise=0.4, seed=seed), p99_s=P99_S, seconds=1.0)
    assert choose(trials, P99_S).setting == tried[best]
    assert {trial.setting for trial in trials} == set(tried), "the curve shows all that was tried"


def test_the_worse_half_gets_less_and_today_s_stays_to_the_end() -> None:
    tried = settings(16)
    machine = Machine({setting: 1000.0 + 100 * index for index, setting in enumerate(tried)})
    trials = search(tried, machine, p99_s=P99_S, seconds=1.0)
    by_setting = {trial.setting: trial for trial in trials}
    assert by_setting[tried[0]].rounds == 3
    assert sum(trial.rounds == 3 for trial in trials) == LAST + 1
    assert machine.asked.count(tried[-1]) > 3 * machine.asked.count(tried[1])
    whole = search(tried, Machine(machine.speed), p99_s=P99_S, seconds=1.0, whole=True)
    assert {trial.rounds for trial in whole} == {3}


def test_among_equals_the_cheapest_is_taken() -> None:
    dear = Setting(sizing=Sizing(workers=2), batching=Batching(mode="inline"))
    cheap = Setting(sizing=Sizing(workers=1), batching=Batching(mode="inline"))
    open_ended = Setting(sizing=Sizing(workers=1))
    speed = {dear: 1020.0, cheap: 1010.0, open_ended: 1000.0}
    trials = search([dear, cheap, open_ended], Machine(speed), p99_s=P99_S, seconds=0.5)
    assert choose(trials, P99_S).setting == open_ended
    trials = search([dear, cheap], Machine({dear: 1200.0, cheap: 1000.0}), p99_s=P99_S, seconds=0.5)
    assert choose(trials, P99_S).setting == dear


def test_a_faster_setting_that_does_not_keep_the_latency_or_fails_is_not_chosen() -> None:
    slow, failing, steady = settings(3)
    machine = Machine({slow: 10.0, failing: 9000.0, steady: 500.0})
    machine.fails.add(failing)
    trials = search([slow, failing, steady], machine, p99_s=P99_S, seconds=0.5)
    assert choose(trials, P99_S).setting == steady


def test_where_nothing_keeps_the_latency_the_nearest_is_chosen() -> None:
    one, other = settings(2)
    trials = search([one, other], Machine({one: 5.0, other: 9.0}), p99_s=0.001, seconds=0.5)
    chosen = choose(trials, 0.001)
    assert chosen.setting == other
    assert chosen.best(0.001) is None
    assert chosen.score(0.001) < 0


def stretch(setting: Setting, *, used: float, idle: float) -> Trial:
    def measure(_: Setting, connections: int, seconds: float) -> Stretch:
        sample = Sample(array("d", [0.001] * int(1000 * seconds)), 0, seconds, 0.5)
        return Stretch(sample, used * seconds, idle=idle, cpus=2)

    return search([setting], measure, p99_s=P99_S, seconds=3.0)[0]


@pytest.mark.parametrize(
    ("workers", "used", "idle", "times"),
    [
        (2, 1.0, 0.0, 2.0),  # the clients took half of what it could have used
        (1, 1.0, 0.0, 1.0),  # one worker uses one processor, however many there are
        (4, 1.0, 0.0, 2.0),  # four cannot use more than there are
        (2, 1.0, 1.0, 1.0),  # it could have had more, and did not take it
    ],
)
def test_what_the_clients_took_counts_as_the_data_plane_s(workers: int, used: float, idle: float, times: float) -> None:
    trial = stretch(Setting(sizing=Sizing(workers=workers)), used=used, idle=idle)
    assert trial.points
    for point in trial.points:
        assert point.apart_per_s == pytest.approx(times * point.per_s)


@given(engine=st.sampled_from(["onnxruntime", "python"]), cpus=st.integers(1, 64), p99_s=st.floats(0.0005, 1.0))
def test_no_setting_of_the_grid_is_twice_there_or_takes_more_than_there_is(
    engine: str, cpus: int, p99_s: float
) -> None:
    found = grid(engine, cpus, p99_s)
    assert len(set(found)) == len(found)
    assert len({setting.label for setting in found}) == len(found)
    for setting in found:
        assert setting.sizing.workers * max(setting.sizing.threads, setting.batching.processes) <= cpus
        assert setting.batching.delay_s <= p99_s / 4
    assert any(setting.sizing.workers == cpus for setting in found)


def test_when_the_time_is_over_it_ends_after_the_turn_and_everything_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("penstock.tuning.search.monotonic", lambda: now[0])
    tried = settings(16)
    machine = Machine({setting: 1000.0 + 100 * index for index, setting in enumerate(tried)})

    def slow(setting: Setting, connections: int, seconds: float) -> Stretch:
        now[0] += 1.0  # a machine that takes ten times as long to change a setting
        return machine(setting, connections, seconds)

    trials = search(tried, slow, p99_s=P99_S, seconds=1.0)
    assert {trial.rounds for trial in trials} == {1}
    assert len(machine.asked) == 2 * len(tried), "one turn"
    assert choose(trials, P99_S).setting == tried[-1]
