"""The forms of a version on trial: packaged, proven, judged beside the parent, measured, one of them chosen.

What comes in: graphs from the sandbox. What goes out: `Tried` for each, and the package that the whole policy passed.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from msgspec.structs import replace

from penstock.app.app import App
from penstock.build.forms import Made
from penstock.build.reassemble import Reform, with_graph
from penstock.build.request import BuildRequest
from penstock.errors import PenstockError
from penstock.gate.check import Candidate, GateData
from penstock.gate.costs import Cost, measure_costs
from penstock.gate.likeness import Likeness, LikenessLimits
from penstock.gate.policy import Policy, limits_type
from penstock.gate.run import outcome_of, run
from penstock.packages.read import Package
from penstock.records import Finding, Outcomes, Record, Sizing, Verdict
from penstock.runtime.engine import Engine, open_engine, prove
from penstock.runtime.processors import usable_cpus

ASKED = ("quality", "fairness", "latency")
"""Checks that each form is held to; the one that is chosen is held to the whole policy."""

GAIN = 0.9
"""A form that takes more than this of what its parent takes, in time and in space, is no gain: figures vary by that."""


By = Literal["cost", "size"]
"""What is to be least; where size is, time is not asked."""


class Tried(Record, frozen=True, kw_only=True):
    """One form and what came of it.

    Attributes:
        label: What was done.
        outcome: The gate's; ``refuse`` also where it could not be made.
        reason: The first blocking finding, or why it could not be made; empty where it passed.
        cost: None where nothing could be measured.
        findings: All of the gate's.
    """

    label: str
    outcome: Outcomes
    reason: str = ""
    cost: Cost | None = None
    findings: tuple[Finding, ...] = ()


class FormTrial(NamedTuple):
    """A form that answers."""

    graph: bytes
    package: Package
    engine: Engine


@dataclass(frozen=True)
class Bar:
    """What forms are held against.

    Attributes:
        parent: Whose forms they are.
        ref: ``name@3``.
        data: Labelled rows.
        policy: The home's.
        likeness: How like the parent they have to be.
    """

    parent: Package
    ref: str
    data: GateData
    policy: Policy
    likeness: LikenessLimits


class Trials:
    """Forms beside their parent, engines open until the stack that was given closes.

    Args:
        app: Who signs, where.
        bar: What they are held against.
        place: Folder for their packages.
        stack: Closes the engines.
    """

    def __init__(self, app: App, bar: Bar, place: Path, stack: ExitStack) -> None:
        self._app, self._bar, self._place, self._stack = app, bar, place, stack
        self.parent = self._opened(bar.parent)
        self.tried: list[Tried] = []
        self._running: dict[str, FormTrial] = {}

    def put(self, made: Made) -> None:
        """Package a form, prove it on its examples, and ask the gate's first questions; it never raises for a form."""
        if made.reason:
            self.tried.append(Tried(label=made.label, outcome="refuse", reason=made.reason))
            return
        try:
            package = with_graph(self._bar.parent, self._reform(made.label, made.graph), self.order())
            engine = self._opened(package)
            prove(engine, package)
        except PenstockError as error:
            self.tried.append(Tried(label=made.label, outcome="refuse", reason=error.message))
            return
        self._running[made.label] = FormTrial(made.graph, package, engine)
        findings = self._first(package, engine)
        outcome = outcome_of(findings)
        blocking = [one for one in findings if one.blocking and one.outcome == outcome]
        reason = "" if outcome == "pass" or not blocking else f"{blocking[0].check}: {blocking[0].message}"
        self.tried.append(Tried(label=made.label, outcome=outcome, reason=reason, findings=tuple(findings)))

    def measure(self, *, batch: int, seconds: float, p99_s: float = math.inf) -> Cost:
        """Measure the parent and every form that answers, side by side, and find how each is run cheapest.

        Args:
            batch: Rows in a run of many.
            seconds: For each form.
            p99_s: 99 of 100 runs have to end within; a form that cannot is refused.

        Returns:
            The parent's cost.
        """
        engines = {"": self._on_threads(self.parent, self._bar.parent)}
        engines |= {label: self._on_threads(one.engine, one.package) for label, one in self._running.items()}
        packages = {"": self._bar.parent} | {label: trial.package for label, trial in self._running.items()}
        rows = self._bar.data.validation.inputs
        found = measure_costs(engines, packages, rows, batch=batch, budget_s=seconds * len(engines))
        self.tried = [_timed(one, found.get(one.label), p99_s) for one in self.tried]
        return _cheapest(found[""], p99_s)

    def ranked(self, before: Cost, by: By = "cost") -> list[str]:
        """Labels of the forms that passed and gain something, cheapest first; of close ones, the smallest."""
        passed = [(one.label, one.cost) for one in self.tried if one.outcome == "pass" and one.cost is not None]
        if by == "size":
            smaller = [
                (cost.size_bytes, label) for label, cost in passed if _is_less(cost.size_bytes, before.size_bytes)
            ]
            return [label for _, label in sorted(smaller)]
        left = [(label, cost) for label, cost in passed if _gains(cost, before)]
        ranked: list[str] = []
        while left:
            least = min(cost.cpu_s for _, cost in left)
            near = [(cost.size_bytes, label) for label, cost in left if cost.cpu_s * GAIN <= least]
            ranked.append(min(near)[1])
            left = [(label, cost) for label, cost in left if label != ranked[-1]]
        return ranked

    def whole(self, label: str, forms: bytes) -> tuple[Package, Verdict]:
        """Package a form once more with the table in it, and hold it to the whole policy."""
        reform = self._reform(label, self._running[label].graph, forms)
        package = with_graph(self._bar.parent, reform, self.order())
        engine = self._opened(package)
        prove(engine, package)
        verdict = run(self._candidate(package, engine), self._bar.policy)
        likeness = Likeness(self._bar.likeness).check(self._candidate(package, engine))
        findings = (*verdict.findings, *likeness)
        return package, replace(verdict, findings=findings, outcome=outcome_of(findings))

    def refuse(self, label: str, verdict: Verdict) -> None:
        """Note that the whole policy did not let a form pass that its first questions had."""
        blocking = [one for one in verdict.findings if one.blocking and one.outcome == verdict.outcome]
        reason = f"{blocking[0].check}: {blocking[0].message}" if blocking else "the policy"
        self.tried = [
            replace(one, outcome=verdict.outcome, reason=reason) if one.label == label else one for one in self.tried
        ]

    def order(self) -> BuildRequest:
        """Where packages go, and who signs them."""
        return BuildRequest(name=self._bar.parent.manifest.name, out=self._place, key=self._app.package_key)

    def _reform(self, label: str, graph: bytes, forms: bytes = b"") -> Reform:
        return Reform(label, graph, self._bar.likeness.tolerance, forms)

    def _first(self, package: Package, engine: Engine) -> list[Finding]:
        candidate = self._candidate(package, engine)
        known = self._bar.policy.checks
        asked = {name: known[name] for name in ASKED if name in known}
        # Whatever the policy leaves out: a form that is worse than its parent is no form of it.
        asked.setdefault("quality", limits_type("quality")())
        policy = replace(self._bar.policy, checks=MappingProxyType(asked))
        return [*Likeness(self._bar.likeness).check(candidate), *run(candidate, policy).findings]

    def _candidate(self, package: Package, engine: Engine) -> Candidate:
        return Candidate(
            package=package,
            engine=engine,
            data=self._bar.data,
            champion=self.parent,
            champion_name=self._bar.ref,
            precision=self._bar.policy.precision,
        )

    def _on_threads(self, engine: Engine, package: Package) -> dict[int, Engine]:
        """The engine that is open, on one thread, and another on all that this process may use."""
        usable = usable_cpus()
        return {1: engine} | ({usable: self._opened(package, Sizing(threads=usable))} if usable > 1 else {})

    def _opened(self, package: Package, sizing: Sizing | None = None) -> Engine:
        engine = open_engine(package, sizing=sizing)
        self._stack.callback(engine.close)
        return engine


def _cheapest(cost: Cost, p99_s: float) -> Cost:
    """With the processor time of the cheapest way of running that keeps the latency, if there is one."""
    run = cost.within(p99_s)
    return cost if run is None else replace(cost, cpu_s=run.cpu_s, batch=run.batch, threads=run.threads)


def _timed(tried: Tried, cost: Cost | None, p99_s: float) -> Tried:
    """With its cost; one that passed and cannot keep the latency in any way is refused."""
    if cost is None or cost.within(p99_s) is not None:
        return replace(tried, cost=cost and _cheapest(cost, p99_s))
    if tried.outcome != "pass":
        return replace(tried, cost=cost)
    least = min(one.p99_s for one in cost.runs)
    reason = f"of 100 runs one takes {1000 * least:.3g} ms at best; 99 have to end within {1000 * p99_s:g} ms"
    return replace(tried, cost=cost, outcome="refuse", reason=reason)


def _gains(cost: Cost, before: Cost) -> bool:
    """Whether it is worth a version: clearly cheaper or clearly smaller, and not clearly dearer."""
    cheaper, smaller = _is_less(cost.cpu_s, before.cpu_s), _is_less(cost.size_bytes, before.size_bytes)
    return (cheaper or smaller) and GAIN * cost.cpu_s <= before.cpu_s


def _is_less(now: float, before: float) -> bool:
    """By more than measuring is off."""
    return now <= GAIN * before
