"""`import penstock as ps`: the same use cases in a notebook's words.

v = ps.package(model, "churn", data=X_val, labels=y_val)
v.check().raise_if_refused()
endpoint = v.release()
p = endpoint.predict(rows)
endpoint.outcome(p.id, 1)
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from penstock.app.app import App
from penstock.app.checking import CheckRequest, check, report_path
from penstock.app.declaring import declared_of
from penstock.app.opening import open_app
from penstock.app.outcomes import record_outcomes
from penstock.app.packaging import PackageRequest
from penstock.app.packaging import package as package_version
from penstock.app.predicting import Predictions, predict
from penstock.app.releasing import ReleaseRequest, release, rollback, wait_until_settled
from penstock.app.repositories import code_state
from penstock.app.views import EndpointView
from penstock.app.watching import drift
from penstock.build.declaration import Declaration, parse_transforms, read_transforms
from penstock.control.process import ensure_running
from penstock.errors import Refused
from penstock.records import Guards, Outcome, Verdict, Version
from penstock.statistics.arraytables import frame_of

Labels = Sequence[object] | npt.NDArray[np.generic] | pd.Series
LABEL = "label"


class GateResult:
    """A verdict as a notebook shows it: truthy where it passed, a table where it is printed."""

    def __init__(self, verdict: Verdict, report: Path) -> None:
        self.verdict = verdict
        self.report = report

    def __bool__(self) -> bool:
        return self.verdict.outcome == "pass"

    def __repr__(self) -> str:
        lines = [f"{one.outcome:<8}{one.check}: {one.message}" for one in self.verdict.findings]
        return "\n".join([*lines, f"{self.verdict.outcome}; report: {self.report}"])

    def raise_if_refused(self) -> GateResult:
        """Raise unless the verdict is ``pass``.

        Raises:
            Refused: The gate refused, or has not enough evidence; the message is the first blocking finding's.
        """
        for finding in self.verdict.findings:
            if finding.blocking and finding.outcome != "pass":
                raise Refused(finding.message, finding.remedy, code=f"gate.{self.verdict.outcome}")
        return self


class PackagedVersion:
    """A registered version, and what can be done with it."""

    def __init__(self, app: App, version: Version) -> None:
        self._app = app
        self.version = version

    def __repr__(self) -> str:
        parity = self._app.open_package(self.version.digest).manifest.parity
        runs = ""
        if parity is not None:
            runs = f", compiled, equal on {parity.rows:,} rows" if parity.passed else f", stays Python: {parity.reason}"
        return f"{self.version.ref} {self.version.digest[:19]} by {self.version.author}{runs}"

    def check(
        self,
        *,
        champion: str = "",
        policy: Path | str | None = None,
        data: Path | str | Mapping[str, Path | str] | None = None,
        label: str = "",
    ) -> GateResult:
        """Ask the gate.

        Args:
            champion: A version to be no worse than; the alias ``champion`` by default.
            policy: A policy file; the home's, or the starter policy, by default.
            data: A file, or files by part (train, validation, test); the data that it was packaged with by default.
            label: The column of them that holds the truth; the one of packaging by default.
        """
        parts = data if isinstance(data, Mapping) else {"validation": data} if data is not None else {}
        request = CheckRequest(
            tables={part: Path(place) for part, place in parts.items()},
            label=label,
            policy=None if policy is None else Path(policy),
            champion=champion,
        )
        verdict = check(self._app, self.version.ref, request)
        return GateResult(verdict, report_path(self._app, verdict))

    def release(self, endpoint: str = "", *, strategy: str = "at-once", guards: Guards | None = None) -> Endpoint:
        """Send traffic to it; returns once it answers, or once a canary has its first share."""
        ensure_running(self._app.home)
        wish = ReleaseRequest(endpoint=endpoint, strategy=strategy, guards=guards)
        made = release(self._app, self.version.ref, wish)
        wait_until_settled(self._app, made, timeout_s=60.0)
        return Endpoint(self._app, made.endpoint)


class Endpoint:
    """A named place that answers predictions."""

    def __init__(self, app: App, name: str) -> None:
        self._app = app
        self.name = name

    def __repr__(self) -> str:
        return f"endpoint {self.name}"

    def predict(
        self, rows: pd.DataFrame | npt.NDArray[np.generic] | Mapping[str, npt.NDArray[np.generic]], *, key: str = ""
    ) -> Predictions:
        """Predict over HTTP: ``.values``, ``.id``, ``.version``; the same `key` meets the same variant."""
        given = rows if isinstance(rows, pd.DataFrame | Mapping) else np.atleast_2d(rows)
        frame = given if isinstance(given, pd.DataFrame) else frame_of(given)
        return predict(self._app, self.name, frame, key=key)

    def outcome(self, prediction: str, value: str | int | float | bool, *, at: float = 0.0) -> None:
        """Say what turned out to be true of one prediction."""
        record_outcomes(self._app, self.name, [Outcome(prediction=prediction, value=value, at=at or time.time())])

    def drift(self) -> EndpointView:
        """What moved since training, by the last windows that closed."""
        return drift(self._app, self.name)

    def rollback(self, *, to: int | None = None, reason: str = "") -> None:
        """Go back to an earlier release, whole and at once."""
        made = rollback(self._app, self.name, to=to, reason=reason)
        wait_until_settled(self._app, made, timeout_s=30.0)


def package(
    model: object | Path | str,
    name: str,
    *,
    data: pd.DataFrame | npt.NDArray[np.generic] | Mapping[str, npt.NDArray[np.generic]],
    labels: Labels | str | None = None,
    time: str = "",
    group: str = "",
    card: Mapping[str, str] | None = None,
    transforms: Mapping[str, object] | Path | None = None,
    allow_code: bool = False,
    environment: Path | str | None = None,
    home: Path | None = None,
) -> PackagedVersion:
    """Turn a trained model into a registered version.

    Args:
        model: A fitted estimator or pipeline, a module of PyTorch's, or the path of a saved one: whatever
            ``penstock package`` takes, ``FILE.py:Class`` too.
        name: Its name in the registry.
        data: Rows it has not been trained on, ``(rows, ...)``; of a model with several inputs, arrays by name.
        labels: Their truth, ``(rows,)``, or the name of the data's column that holds it; an encoder has none.
        time: Column of the data that says when; tests then respect whole days.
        group: Column that says who; tests then respect whole groups.
        card: What is declared of it: ``intended_use``, ``owner``, ``risk`` and the like.
        transforms: Steps before and behind it, as a table or the path of a YAML file: they become part of it.
        allow_code: The model may bring code outside the known libraries; it runs in the sandbox alone.
        environment: Requirements, or a lock, of the model's own; what is installed here by default.
        home: The folder that holds all state; PENSTOCK_HOME or ``.penstock`` by default.
    """
    app = _app(home)
    frame = data.copy() if isinstance(data, pd.DataFrame) else frame_of(data)
    label = labels if isinstance(labels, str) else "" if labels is None else LABEL
    if not isinstance(labels, str) and labels is not None:
        frame[LABEL] = np.asarray(labels)
    request = PackageRequest(
        name=name,
        model=Path(model) if isinstance(model, str) else model,
        tables={"validation": frame},
        label=label,
        time=time,
        group=group,
        allow_code=allow_code,
        environment=None if environment is None else Path(environment),
        source=code_state(Path.cwd(), apart=app.home),
        declared=declared_of(card or {}),
        transforms=_declaration(transforms),
    )
    version, _ = package_version(app, request)
    return PackagedVersion(app, version)


def _declaration(transforms: Mapping[str, object] | Path | None) -> Declaration | None:
    """What is declared, if anything is."""
    if transforms is None:
        return None
    return read_transforms(transforms) if isinstance(transforms, Path) else parse_transforms(transforms)


def model(ref: str, *, home: Path | None = None) -> PackagedVersion:
    """A version that is already registered: ``name@3``, ``name@champion`` or ``name``."""
    app = _app(home)
    return PackagedVersion(app, app.resolve(ref).version)


def endpoint(name: str, *, home: Path | None = None) -> Endpoint:
    """An endpoint that already exists."""
    app = _app(home)
    app.state().endpoint(name)
    return Endpoint(app, name)


def _app(home: Path | None) -> App:
    """The home a notebook works on."""
    return open_app(
        home or Path(os.environ.get("PENSTOCK_HOME", ".penstock")), token=os.environ.get("PENSTOCK_TOKEN", "")
    )
