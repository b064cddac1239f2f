"""G2: a model that stays Python answers behind the sandbox; its process is killed every two seconds and nobody sees
it."""

from __future__ import annotations

import os
import signal
import time
import urllib.request

import joblib
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from figures_for_tests import FULL, Figures
from tests.journeys.conftest import Typist, customers
from tests.journeys.load_for_tests import (
    children,
    descriptors,
    is_running,
    note,
    resident_mib,
    traffic,
    until,
    workers,
)

pytestmark = pytest.mark.serial

SECONDS = 60 if FULL else 6
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


def model_of(worker: int) -> int:
    """The sandboxed process that answers for a worker: its keeper's last, after the template; 0 while there is none."""
    for keeper in children(worker):
        inside = children(keeper)
        return inside[-1] if len(inside) > 2 else 0
    return 0


def test_killed_every_two_seconds_nobody_sees_it(typist: Typist, answering: str, figures: Figures) -> None:
    serving = workers(typist.home)
    supervisor = note(typist.home, "supervisor.json")["pid"]
    until(lambda: all(model_of(worker) for worker in serving))
    before = {worker: (descriptors(worker), resident_mib(worker)) for worker in serving}
    kills: list[int] = []
    with traffic(answering, "churn", ROW) as clients:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(EVERY_S)
            victim = serving[len(kills) % len(serving)]
            until(lambda of=victim: bool(model_of(of)))
            kills.append(model_of(victim))
            os.kill(kills[-1], signal.SIGKILL)
        killed_at = sum(len(client.ids) for client in clients)
        until(lambda: sum(len(client.ids) for client in clients) > killed_at + 50)
    until(lambda: all(model_of(worker) for worker in serving))

    answered = sum(len(client.ids) for client in clients)
    failures = [failure for client in clients for failure in client.failed]
    print(failures[:5])
    figures.count("model processes killed", len(set(kills)), at_least=0.7 * SECONDS / EVERY_S)
    figures.note("requests", answered)
    figures.count("failed requests", len(failures), at_most=0)
    figures.count("counters differ from the clients' own", abs(ok_counted(answering) - answered), at_most=0)
    figures.count("killed processes left behind", sum(is_running(pid) for pid in kills), at_most=0)
    figures.count("different answers to one row", len({a for c in clients for a in c.answers}), at_most=1)
    assert workers(typist.home) == serving, "no worker died with its model"
    assert note(typist.home, "supervisor.json")["pid"] == supervisor
    after = {worker: (descriptors(worker), resident_mib(worker)) for worker in serving}
    figures.count("descriptors more", max(after[one][0] - before[one][0] for one in serving), at_most=4)
    figures.count("MiB more", round(max(after[one][1] - before[one][1] for one in serving), 1), at_most=24)
    figures.timed("longest request, s", max(client.longest_s for client in clients), at_most=10.0)
    expected = uncompilable().predict_proba(customers(1).assign(**ROW)[["age", "income", "plan"]])[0]
    assert f"{expected[1]:.6f}"[:6] in next(iter(clients[0].answers))
    figures.hold()


def ok_counted(url: str) -> int:
    """Predictions that ended well, by the server's own counters."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [one for family in families for one in family.samples if one.name == "penstock_requests_total"]
    return int(sum(one.value for one in samples if one.labels["code"] == "ok"))
