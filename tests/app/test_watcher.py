"""The watcher: calibration is the reference's until production's outcomes say something of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.journeys.conftest import customers, trained

from penstock.app.app import App
from penstock.app.views import CalibrationPoint
from penstock.app.watcher import SHOWN, Watcher
from penstock.log.tail import Tail
from penstock.records import Exchange, Outcome
from taught_for_tests import ENDPOINT, WEAK, answer, learn, live_home


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    app = live_home(tmp_path_factory.mktemp("watched"))
    frame = customers(1000, seed=2)
    ids = answer(app, frame, trained(customers(1500), WEAK), days=2)
    learn(app, ids, 1 - frame["churned"].to_numpy(), days=2)
    return app


def watching(app: App) -> Watcher:
    watcher = Watcher(ENDPOINT)
    release = app.state().endpoint(ENDPOINT).stable
    assert release is not None
    watcher.follow(1, release.variants, app.open_package(release.variants[0].digest))
    watcher.see(Tail(app.home / "log" / "journal", Exchange).read())
    return watcher


def shown(watcher: Watcher) -> tuple[CalibrationPoint, ...]:
    return watcher.view((), {}).calibration


def test_production_takes_the_reference_s_place_once_enough_came_true(app: App, tmp_path: Path) -> None:
    watcher = watching(app)
    reference = shown(watcher)
    assert sum(one.count for one in reference) == 1500
    outcomes = Tail(app.home / "log" / "outcomes", Outcome).read()
    watcher.learn(outcomes[: SHOWN - 1])
    assert shown(watcher) == reference
    watcher.learn(outcomes[SHOWN - 1 :])
    production = shown(watcher)
    assert sum(one.count for one in production) == len(outcomes)
    slope = np.polyfit([one.predicted for one in production], [one.observed for one in production], 1)[0]
    assert slope < 0, "what came true is the opposite of what was predicted"


def test_an_outcome_counts_once(app: App) -> None:
    watcher = watching(app)
    outcomes = Tail(app.home / "log" / "outcomes", Outcome).read()
    for _ in range(2):
        watcher.learn(outcomes)
    assert sum(one.count for one in shown(watcher)) == len(outcomes)
