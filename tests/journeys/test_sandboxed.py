"""A model that stays Python answers behind the sandbox; its process is killed again and again and nobody sees it."""

from __future__ import annotations

import os
import signal
import time

import joblib
import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tests.journeys.conftest import Typist, customers
from tests.journeys.load_for_tests import (
    children,
    descriptors,
    is_running,
    leaf,
    note,
    resident_mib,
    traffic,
    until,
    workers,
)

pytestmark = pytest.mark.serial

SECONDS = 60 if os.environ.get("PENSTOCK_FULL") else 6
EVERY_S = 2.0
ROW = {"age": 42, "income": 30.5}


def uncompilable() -> Pipeline:
    """A transformer that no graph has: a plain numpy function."""
    frame = customers(2000).dropna()
    cube = make_pipeline(FunctionTransformer(np.cbrt), StandardScaler())
    columns = make_column_transformer((cube, ["age", "income"]))
    return make_pipeline(columns, LogisticRegression()).fit(frame.drop(columns="churned"), frame["churned"])


@pytest.fixture
def answering(typist: Typist) -> str:
    """The address at which the sandboxed model answers."""
    joblib.dump(uncompilable(), typist.folder / "model.joblib")
    customers(2000, seed=1).dropna().to_parquet(typist.folder / "rows.parquet")
    made = typist.json("package", "model.joblib", "--name", "churn", "--data", "rows.parquet", "--label", "churned")
    assert made["engine"] == "python"
    return typist.json("release", "churn@1", "--break-glass", "the gate is another test's")["url"]


def models_of(worker: int) -> list[int]:
    """The sandboxed processes of a worker, the one that answers first, its spare after it."""
    return [leaf(one) for one in children(worker)]


def test_killed_every_two_seconds_nobody_sees_it(
    typist: Typist, answering: str, record_property: pytest.RecordProperty
) -> None:
    serving = workers(typist.home)
    supervisor = note(typist.home, "supervisor.json")["pid"]
    until(lambda: all(len(models_of(worker)) == 2 for worker in serving))
    before = {worker: (descriptors(worker), resident_mib(worker)) for worker in serving}
    kills: list[int] = []
    with traffic(answering, "churn", ROW) as clients:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(EVERY_S)
            victim = serving[len(kills) % len(serving)]
            until(lambda of=victim: bool(models_of(of)))
            kills.append(models_of(victim)[0])
            os.kill(kills[-1], signal.SIGKILL)
        killed_at = sum(len(client.ids) for client in clients)
        until(lambda: sum(len(client.ids) for client in clients) > killed_at + 50)
    until(lambda: all(len(models_of(worker)) == 2 for worker in serving))

    assert [failure for client in clients for failure in client.failed] == []
    assert len(kills) == len(set(kills)) >= 0.7 * SECONDS / EVERY_S
    assert not any(is_running(pid) for pid in kills)
    assert workers(typist.home) == serving, "no worker died with its model"
    assert note(typist.home, "supervisor.json")["pid"] == supervisor
    assert len({answer for client in clients for answer in client.answers}) == 1, "a replay answers the same"
    after = {worker: (descriptors(worker), resident_mib(worker)) for worker in serving}
    for worker in serving:
        assert abs(after[worker][0] - before[worker][0]) <= 4
        assert after[worker][1] - before[worker][1] < 24
    expected = uncompilable().predict_proba(customers(1).assign(**ROW)[["age", "income", "plan"]])[0]
    assert f"{expected[1]:.6f}"[:6] in next(iter(clients[0].answers))
    figures = {
        "kills": len(kills),
        "requests": sum(len(client.ids) for client in clients),
        "longest_s": round(max(client.longest_s for client in clients), 2),
        "mib": [round(after[worker][1] - before[worker][1], 1) for worker in serving],
        "descriptors": [after[worker][0] - before[worker][0] for worker in serving],
    }
    for name, value in figures.items():
        record_property(name, value)
    print(figures)
