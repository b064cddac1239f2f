"""A home whose endpoint answered for some days and learned what came true; no data plane runs.

The package, registry, journals and events are real: exchanges are written as a worker writes them.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import re
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from chain_for_tests import put
from penstock.app.app import App
from penstock.app.opening import open_app
from penstock.app.outcomes import record_outcomes
from penstock.app.packaging import PackageRequest, package
from penstock.app.releasing import ReleaseRequest, release
from penstock.gate.policy import starter
from penstock.log.journal import Journal
from penstock.log.tail import payload
from penstock.records import Exchange, Incident, Outcome, Settled, Step, Verdict, Version
from tests.journeys.conftest import customers, trained

DAY = 86_400.0
START = 1_700_006_400.0
"""Midnight, UTC."""
ENDPOINT = "churn"
DOCUMENT = Path(__file__).parents[1] / "docs" / "retraining.md"
WEAK = 1e-4
"""Regularises the first model to a poor one, which is easy to do better than."""


def example() -> str:
    """The script in the documentation."""
    (found,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return found


def live_home(folder: Path, settings: str = "") -> App:
    """Penstock itself at work on a home of its own where ``churn@1`` is live."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "penstock.yaml").write_text("api: {port: 0}\nserve: {port: 0}\n" + settings)
    shutil.copytree(_pattern(), folder / ".penstock")
    admin = open_app(folder / ".penstock")
    return dataclasses.replace(admin, identity=admin.registry.system())


@functools.cache
def _pattern() -> Path:
    """The home that the others are copies of: packaging takes seconds, copying none."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-taught-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    admin = open_app(folder / ".penstock")
    model, validation = trained(customers(1500), WEAK), customers(1500, seed=1)
    request = PackageRequest(name=ENDPOINT, model=model, tables={"validation": validation}, label="churned")
    version, _ = package(admin, request)
    passed(admin, version)
    make_live(admin, version)
    admin.registry.close()
    return folder / ".penstock"


def passed(app: App, version: Version) -> None:
    """A passing verdict by the policy in force."""
    verdict = Verdict(
        model=version.model,
        version=version.version,
        digest=version.digest,
        outcome="pass",
        findings=(),
        policy=starter().digest,
        at=time.time(),
    )
    put(app.registry, "verdict.given", verdict, by=app.identity)


def make_live(app: App, version: Version) -> None:
    """Released and settled, as the control loop would have done."""
    made = release(app, version.ref, ReleaseRequest(endpoint=ENDPOINT))
    system = app.registry.system()
    step = Step(endpoint=ENDPOINT, revision=made.revision, phase="live", variants=made.variants)
    put(app.registry, "release.stepped", step, by=system)
    put(app.registry, "release.settled", Settled(endpoint=ENDPOINT, revision=made.revision, outcome="live"), by=system)


def answer(app: App, frame: pd.DataFrame, model: Pipeline, *, days: int, version: int = 1, seed: int = 0) -> list[str]:
    """Rows answered over some days, ten rows a request; gives the prediction ids, in the rows' order."""
    journal = Journal(app.home / "log" / "journal", f"worker-{seed}")
    inputs = frame.drop(columns="churned")
    chances, labels = model.predict_proba(inputs), model.predict(inputs)
    ids = []
    for at in range(0, len(frame), 10):
        some = inputs.iloc[at : at + 10]
        name = f"{seed:04x}{at:012x}"
        when = START + days * DAY * at / len(frame)
        made = Exchange(
            id=name, endpoint=ENDPOINT, release=version, model=ENDPOINT, version=version, variant="stable", share=1.0,
            key=f"k{at}", event_time=when, received_at=when, latency_s=0.001, code="ok", rows=len(some),
            inputs={str(column): _plain(some[column]) for column in some},
            outputs={
                "label": labels[at : at + 10].tolist(),
                "probabilities": chances[at : at + 10].tolist(),
            },
        )  # fmt: skip
        journal.append(payload(made))
        ids += [f"{name}.{row}" for row in range(len(some))]
    journal.close()
    return ids


def learn(app: App, ids: list[str], values: np.ndarray, *, days: int) -> None:
    """What came true, an hour after each answer."""
    times = START + days * DAY * np.arange(len(ids)) / len(ids) + 3600
    found = [
        Outcome(prediction=name, value=value, at=float(at))
        for name, value, at in zip(ids, values.tolist(), times, strict=True)
    ]
    record_outcomes(app, ENDPOINT, found)


def raise_incident(app: App, cause: str = "risk", *, at: float = START, **changes: object) -> Incident:
    """An open incident, as a monitor has it."""
    told = {"severity": "page", "title": "answers got worse", "effect": "loss 0.2 -> 0.3"}
    words = {"guarantee": "1 in 1000 days", "closes": "two good windows"}
    made = Incident(endpoint=ENDPOINT, cause=cause, opened_at=at, **{**told, **words, **changes})  # type: ignore[arg-type]
    put(app.registry, "incident.opened", made, by=app.registry.system())
    return made


def _plain(column: pd.Series) -> list[object]:
    return column.astype(object).where(column.notna(), None).tolist()
