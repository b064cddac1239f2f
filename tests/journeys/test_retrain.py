"""The world turns round under a live model: from outcomes that contradict it to a canary of its successor."""

from __future__ import annotations

import time
from collections.abc import Callable

import joblib
import numpy as np
import pandas as pd
import pytest
import tritonclient.http

from penstock.access.identities import SYSTEM_NAME
from penstock.app.app import App
from penstock.app.opening import open_app
from penstock.app.outcomes import record_outcomes
from penstock.app.views import EndpointView, read_observed
from penstock.log.tables import exchanges
from penstock.records import Outcome
from taught_for_tests import example
from tests.journeys.conftest import SETTINGS, Typist, customers, trained

pytestmark = pytest.mark.timeout(900)

DAY = 86_400.0
START = 1_700_006_400.0
DAYS = 14
TURNED = 1
"""From this day on, those who would have stayed leave, and the reverse."""
A_SLOT, SLOTS = 30, 12
"""Rows a request, requests a day."""
DATATYPES = {"age": ("INT64", np.int64), "income": ("FP64", np.float64), "plan": ("BYTES", np.object_)}


def until(there: Callable[[], object], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def live(typist: Typist) -> str:
    """``churn@1`` answers, judged on twenty days it had not seen; gives its address."""
    (typist.folder / "penstock.yaml").write_text(SETTINGS + "feedback: {retrain: [python, retrain.py]}\n")
    (typist.folder / "retrain.py").write_text(example())
    joblib.dump(trained(customers(2000)), typist.folder / "model.joblib")
    validation = customers(4000, seed=1)
    validation["seen"] = START - 20 * DAY + 20 * DAY * np.arange(len(validation)) / len(validation)
    validation.to_parquet(typist.folder / "validation.parquet")
    words = ("--data", "validation.parquet", "--label", "churned", "--time", "seen")
    typist.json("package", "model.joblib", "--name", "churn", *words)
    typist.json("check", "churn@1")
    return typist.json("release", "churn@1")["url"]


def ask(url: str, frame: pd.DataFrame) -> list[str]:
    """Each request at its own event time; the prediction ids, in the rows' order."""
    client = tritonclient.http.InferenceServerClient(url.removeprefix("http://"))
    ids = []
    for number in range(DAYS * SLOTS):
        some = frame.iloc[number * A_SLOT : (number + 1) * A_SLOT]
        inputs = []
        for name, (datatype, dtype) in DATATYPES.items():
            tensor = tritonclient.http.InferInput(name, [len(some), 1], datatype)
            tensor.set_data_from_numpy(some[name].to_numpy(dtype).reshape(-1, 1))
            inputs.append(tensor)
        when = START + DAY * number / SLOTS
        answer = client.infer("churn", inputs, headers={"x-event-time": str(when)})
        ids += [f"{answer.get_response()['id']}.{row}" for row in range(len(some))]
    client.close()
    return ids


def view(app: App) -> EndpointView:
    return read_observed(app.home).endpoints.get("churn", EndpointView(endpoint="churn", release=0))


def test_from_contradicting_outcomes_to_a_canary(typist: Typist) -> None:
    url = live(typist)
    app = open_app(typist.home)
    frame = customers(DAYS * SLOTS * A_SLOT, seed=7)
    ids = ask(url, frame)
    days = np.arange(len(frame)) // (SLOTS * A_SLOT)
    truth = np.where(days >= TURNED, 1 - frame["churned"], frame["churned"])
    until(lambda: view(app).rows == len(frame))
    before = view(app).calibration
    times = START + DAY * (np.arange(len(frame)) // A_SLOT) / SLOTS + 600
    told = [Outcome(prediction=n, value=v, at=t) for n, v, t in zip(ids, truth.tolist(), times.tolist(), strict=True)]
    record_outcomes(app, "churn", told)

    until(lambda: any(one.action == "retrain" for one in app.state().endpoint("churn").proposals))
    until(lambda: len(app.state().endpoint("churn").releases) == 2)
    state = app.state()
    made = state.version("churn", 2)
    assert made.version.author == SYSTEM_NAME
    assert made.version.parent == state.version("churn", 1).version.digest
    assert made.verdict is not None
    assert (made.verdict.outcome, made.verdict.champion) == ("pass", "churn@1")
    current = state.endpoint("churn").current
    assert current is not None
    assert (current.strategy, current.by, current.variants[0].version) == ("canary", SYSTEM_NAME, 2)
    until(lambda: any(s.revision == 2 and s.phase == "shifting" for s in app.state().endpoint("churn").steps))

    until(lambda: sum(one.count for one in view(app).calibration) == len(frame))
    after = view(app).calibration
    slopes = [np.polyfit([p.predicted for p in one], [p.observed for p in one], 1)[0] for one in (before, after)]
    assert slopes[0] > 0 > slopes[1]

    known = decided(app)
    typist.run("down")
    assert exchanges(typist.home / "log").num_rows >= len(frame), "the tables are whole when the control plane stops"
    stopped_at = time.time()
    typist.run("up")
    until(lambda: read_observed(app.home).at > stopped_at and view(app).rows >= len(frame))
    until(lambda: sum(one.count for one in view(app).calibration) == len(frame))
    assert decided(app) == known, "what the journals say again is no news"
    log = (typist.home / "log" / "control.log").read_text()
    assert "Traceback" not in log, log
    assert "somebody was faster" not in log


def decided(app: App) -> list[tuple[str, str]]:
    """All that was found out and done about it."""
    kinds = ("incident.opened", "incident.closed", "proposal.made", "version.registered", "release.requested")
    return [(event.kind, event.body) for event in app.registry.events() if event.kind in kinds]
