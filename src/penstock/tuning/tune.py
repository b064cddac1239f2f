"""One endpoint's settings, measured and chosen, with the curve they were chosen from.

Package + TuningGoal --TrialPlane, Driver--> search --> Tuned
"""

from __future__ import annotations

from pathlib import Path

from penstock.packages.read import Package
from penstock.records import Limits, Record
from penstock.runtime.processors import default_workers, usable_cpus
from penstock.tuning.driver import Driver
from penstock.tuning.plane import ENDPOINT, TrialPlane, idle_cpu_s
from penstock.tuning.search import NEAR, Stretch, Tell, Trial, choose, search
from penstock.tuning.settings import Setting, grid, setting_of
from penstock.tuning.traffic import requests

WARM_S = 0.05


class TuningGoal(Record, frozen=True, kw_only=True):
    """What is wanted.

    Attributes:
        p99_s: 99 of 100 answers must come within.
        seconds: Time of load; starting and changing settings comes on top of it, about half as much again.
        limits: What the endpoint is held to today, its present setting among it.
        workers: Of the data plane today; 0 takes what it would by itself.
        whole: Take every setting to the end.
    """

    p99_s: float
    seconds: float = 30.0
    limits: Limits = Limits()
    workers: int = 0
    whole: bool = False


class Tuned(Record, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        cpus: Usable processors; the clients ran on the same ones.
        present: What is in force today, measured in the same rounds.
        trials: All settings, the best first; a setting's points are its curve.
        kept: Whether the chosen one keeps the latency at all.
    """

    p99_s: float
    cpus: int
    present: Trial
    chosen: Trial
    trials: tuple[Trial, ...]
    kept: bool

    @property
    def gain(self) -> float:
        """Answers a second of the chosen setting, as a ratio to today's; 0 where today's keeps the latency nowhere."""
        before = self.present.score(self.p99_s)
        return self.chosen.score(self.p99_s) / before if before > 0 else 0.0

    @property
    def why(self) -> str:
        """The choice in a sentence."""
        limit = f"{1000 * self.p99_s:g} ms"
        best = self.chosen.best(self.p99_s)
        if best is None:
            return f"no setting kept a p99 of {limit}; this one came nearest"
        told = (
            f"{best.apart_per_s:,.0f} answers a second at a p99 of {1000 * best.p99_s:.3g} ms, over {best.connections}"
        )
        if self.chosen.setting == self.present.setting:
            return f"{told} connections: today's setting is within {NEAR:.0%} of the best that keeps {limit}"
        before = f"{self.gain:.2f} times today's" if self.gain else "today's setting does not keep it"
        return f"{told} connections: {before}; the limit was {limit}"


def tune(
    package: Package,
    order: TuningGoal,
    *,
    environments: Path | None = None,
    keys: Path | None = None,
    tell: Tell = lambda step: None,
) -> Tuned:
    """Measure every setting worth trying, on a data plane of its own, and choose.

    Args:
        package: Verified; it needs golden examples, which are what is sent.
        order: What is wanted.
        environments: Where environments of sandboxed models are kept.
        keys: PEM file of who must have signed the package.
        tell: Told each step.

    Raises:
        NotReady: The model does not answer by one of the settings.
        TargetFailed: The data plane to measure on ended.
    """
    cpus = usable_cpus()
    present = setting_of(order.limits, order.workers or default_workers())
    settings = (present, *(one for one in grid(package.manifest.engine, cpus, order.p99_s) if one != present))
    tell("starting a data plane to measure on")
    plane = TrialPlane(package, order.limits, environments=environments, keys=keys)
    try:
        plane.settle(present)
        driver = Driver(plane.port, requests(package.golden(), package.manifest.signature, ENDPOINT))
        try:
            measure = _Measuring(plane, driver, cpus)
            goal = {"p99_s": order.p99_s, "seconds": order.seconds}
            trials = search(settings, measure, **goal, whole=order.whole, tell=tell)
        finally:
            driver.close()
    finally:
        plane.close()
    chosen = choose(trials, order.p99_s)
    return Tuned(
        p99_s=order.p99_s,
        cpus=cpus,
        present=next(trial for trial in trials if trial.setting == present),
        chosen=chosen,
        trials=trials,
        kept=chosen.best(order.p99_s) is not None,
    )


class _Measuring:
    """Loads a setting; changes to it first where another is in force."""

    def __init__(self, plane: TrialPlane, driver: Driver, cpus: int) -> None:
        self._cpus = cpus
        self._plane = plane
        self._driver = driver
        self._setting: Setting | None = None

    def __call__(self, setting: Setting, connections: int, seconds: float) -> Stretch:
        if setting != self._setting:
            self._plane.settle(setting)
            self._setting = setting
            # Pages, caches and the lane's own pace are cold.
            self._driver.drive(connections, WARM_S)
        cpu_s, idle_s = self._plane.cpu_s(), idle_cpu_s()
        sample = self._driver.drive(connections, seconds)
        idle = (idle_cpu_s() - idle_s) / sample.seconds
        return Stretch(sample, self._plane.cpu_s() - cpu_s, idle=idle, cpus=self._cpus)
