"""Find a cheaper form of a version that still passes its gates, and register it as the next version.

version -> forms of its graph (sandbox) -> packages -> gate: quality, likeness, latency -> costs, side by side
        -> the cheapest that passes -> the whole policy -> N@v+1, its parent named, the table in package and verdict
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from penstock.access.identities import require
from penstock.access.permissions import CHECK, PACKAGE
from penstock.adapters import TABLE, load
from penstock.app.app import App
from penstock.app.checking import Step, rows_to_judge
from penstock.app.policies import policy_of
from penstock.app.registering import register_package
from penstock.app.trials import Bar, By, Trials, Tried
from penstock.build.forms import FormTask, Made, make_forms
from penstock.errors import BadConfig, NotFound
from penstock.gate.check import GateData
from penstock.gate.costs import Cost
from penstock.gate.evidence import evidence, table
from penstock.gate.likeness import LikenessLimits
from penstock.gate.report import render
from penstock.packages.read import Package
from penstock.records import Batching, Finding, Guards, Limits, Record, Scalar, Sizing, Verdict, Version, encode
from penstock.tensors import Arrays

CALIBRATION_ROWS = 512


class CompressRequest(Record, frozen=True, kw_only=True):
    """What is asked.

    Attributes:
        kinds: Names of the adapters' ``compression`` table; empty for all.
        graphs: Graphs of the caller's own, to be judged beside them.
        flips: Largest share of labels that may differ from the parent's.
        tolerance: How far numbers may lie from the parent's; see `penstock.gate.likeness`.
        by: What is to be least: ``cost`` is processor time, of close ones the smallest; ``size`` does not ask for time.
        batch: Rows in a run when processor time is measured.
        seconds: Time of measuring for each form.
        p99_s: 99 of 100 runs have to end within; how many rows a run has, and how many threads, follows from it.
        price: Of an hour of one processor, in whatever money; 0 leaves it at processor seconds.
        label: Column that holds the truth; empty takes the one that was named at packaging.
        policy: A policy file; empty takes the home's.
        dry_run: Register nothing.
    """

    kinds: tuple[str, ...] = ()
    graphs: tuple[str, ...] = ()
    flips: float = LikenessLimits().flips
    tolerance: float = LikenessLimits().tolerance
    by: By = "cost"
    batch: int = 32
    seconds: float = 2.0
    p99_s: float = Guards().latency_s
    price: float = 0.0
    label: str = ""
    policy: str = ""
    dry_run: bool = False


class Compressed(Record, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        parent: ``name@3``.
        before: What the parent costs.
        tried: Every form, in the order in which they were made.
        chosen: Label of the form that was chosen; empty for none.
        why: Why that one, or why none.
        version: What was registered; None where nothing was.
        price: Of an hour of one processor; 0 where nobody said.
        limits: How the form that was chosen is to be run, for the release to say; nothing but the defaults where they
            are right.
    """

    parent: str
    before: Cost
    tried: tuple[Tried, ...]
    chosen: str = ""
    why: str = ""
    version: Version | None = None
    price: float = 0.0
    limits: Limits = Limits()


def compress(app: App, ref: str, request: CompressRequest, *, on_step: Step = lambda step: None) -> Compressed:
    """Make the forms, judge them, measure them, register the cheapest that passes.

    Raises:
        NotFound: The version, its data, a compression or a graph of the caller's is not there.
        BadConfig: The version does not answer by a compiled graph.
        Conflict: Somebody else registered a version meanwhile.
    """
    require(app.identity, PACKAGE)
    require(app.identity, CHECK)
    for kind in request.kinds:
        load("compression", kind)
    known = app.resolve(ref)
    parent = app.open_package(known.version.digest)
    if parent.manifest.engine != "onnxruntime":
        raise BadConfig(
            "the version answers as Python, not by a compiled graph: there is nothing to compress",
            "its parity.json says why it did not compile",
            code="app.not_compiled",
        )
    policy = policy_of(app, Path(request.policy) if request.policy else None)
    bar = Bar(
        parent=parent,
        ref=known.version.ref,
        data=rows_to_judge(app, parent.manifest, known, {}, policy, label=request.label),
        policy=policy,
        likeness=LikenessLimits(flips=request.flips, tolerance=request.tolerance),
    )
    with tempfile.TemporaryDirectory(prefix="penstock-") as scratch, ExitStack() as stack:
        trials = Trials(app, bar, Path(scratch), stack)
        for made in _made(parent, bar.data, request, on_step):
            on_step(f"judging: {made.label}")
            trials.put(made)
        on_step("measuring them side by side")
        p99_s = request.p99_s if request.by == "cost" else math.inf
        before = trials.measure(batch=request.batch, seconds=request.seconds, p99_s=p99_s)
        return _choose(
            app, trials, Compressed(parent=bar.ref, before=before, tried=(), price=request.price), request, on_step
        )


def _made(parent: Package, data: GateData, request: CompressRequest, on_step: Step) -> Iterator[Made]:
    """Every form of every compression, then the caller's own graphs."""
    rows = calibration_rows(data)
    outputs = tuple(spec.name for spec in parent.manifest.signature.outputs)
    task = FormTask(graph=str(parent.entry), rows="", outputs=outputs)
    for kind in request.kinds or (() if request.graphs else tuple(TABLE["compression"])):
        on_step(f"making: {kind.replace('_', ' ')}")
        yield from make_forms(replace(task, compression=kind), rows)
    for graph in request.graphs:
        if not Path(graph).is_file():
            raise NotFound("there is no such graph", "check the path", where="graph", code="app.no_graph")
        for made in make_forms(replace(task, own=graph), rows):
            made.label = f"own graph {Path(graph).name}"
            yield made


def calibration_rows(data: GateData) -> Arrays:
    """Some of the training rows where they were given, else of the validation rows, evenly."""
    rows = data.train or data.validation
    index = np.linspace(0, len(rows) - 1, min(CALIBRATION_ROWS, len(rows))).astype(np.int64)
    return rows.take(index).inputs


def _choose(app: App, trials: Trials, found: Compressed, request: CompressRequest, on_step: Step) -> Compressed:
    """The cheapest form that the whole policy passes, registered."""
    for label in trials.ranked(found.before, request.by):
        on_step(f"holding it to the whole policy: {label}")
        found = replace(found, tried=tuple(trials.tried))
        package, verdict = trials.whole(label, encode(found))
        if verdict.outcome != "pass":
            trials.refuse(label, verdict)
            continue
        found = replace(found, chosen=label, why=_why(label, found), limits=_limits(_cost_of(label, found)))
        if request.dry_run:
            return found
        on_step("registering it")
        return replace(found, version=_register(app, package, verdict, found))
    return replace(found, tried=tuple(trials.tried), why=_why_none(trials.tried))


def _register(app: App, package: Package, verdict: Verdict, found: Compressed) -> Version:
    """The version, then the verdict that it already has, with the table."""
    version = register_package(app, package)
    shown = Finding(
        check="compression",
        title="Is it the cheapest form that passes?",
        outcome="pass",
        message=f"Yes: {found.why}.",
        evidence=evidence(tables=[table(f"Forms of {found.parent}", table_rows(found))]),
    )
    verdict = replace(verdict, version=version.version, findings=(*verdict.findings, shown))
    page = render(verdict, package.manifest).encode()
    verdict = replace(verdict, report=app.registry.reports.put_bytes(page, suffix=".html"))
    app.registry.append("verdict.given", f"model/{version.model}", verdict, by=app.identity)
    return version


def _why(label: str, found: Compressed) -> str:
    """Why this one, in figures."""
    cost = _cost_of(label, found)
    before = found.before
    return (
        f"{label} takes {before.size_bytes / cost.size_bytes:.1f} times less space and "
        f"{before.cpu_s / cost.cpu_s:.1f} times less processor time than {found.parent}, and passes"
    )


def _cost_of(label: str, found: Compressed) -> Cost:
    """What a form costs that was chosen."""
    cost = next(one.cost for one in found.tried if one.label == label)
    assert cost is not None
    return cost


def _limits(cost: Cost) -> Limits:
    """How a form is run as it was measured: alone where runs of many are too slow, on more threads where one is."""
    most = max((one.batch for one in cost.runs), default=1)
    batching = Batching(rows=1) if cost.batch < most else Batching()
    return Limits(sizing=Sizing(threads=cost.threads), batching=batching)


def _why_none(tried: Sequence[Tried]) -> str:
    """Why none was chosen."""
    passed = [one.label for one in tried if one.outcome == "pass"]
    if passed:
        return f"{', '.join(passed)} passed but are neither clearly cheaper nor clearly smaller"
    return "; ".join(f"{one.label}: {one.reason}" for one in tried) or "there was no form to try"


def table_rows(found: Compressed) -> list[dict[str, Scalar]]:
    """The table, one line a form, the parent first."""
    parent = Tried(label=f"{found.parent} as it is", outcome="pass", cost=found.before)
    return [_row(one, found) for one in (parent, *found.tried)]


def _row(one: Tried, found: Compressed) -> dict[str, Scalar]:
    """A form's line; what was not measured is empty."""
    cost = one.cost
    row: dict[str, Scalar] = {"form": one.label + (" *" if one.label == found.chosen else "")}
    row |= {
        "size, KB": round(cost.size_bytes / 1e3, 1) if cost else None,
        "p50, us": round(cost.p50_s * 1e6, 1) if cost else None,
        "p99, us": round(cost.p99_s * 1e6, 1) if cost else None,
        **_runs(cost or found.before, shown=cost is not None),
        "memory, MB": round(cost.memory_bytes / 1e6, 1) if cost else None,
        "best run": f"{_rows(cost.batch)}, {_threads(cost.threads)}" if cost else None,
        "CPU s per 1,000": round(cost.cpu_s, 5) if cost else None,
    }
    if found.price:
        row["cost per 1,000"] = round(cost.cpu_s / 3600 * found.price, 9) if cost else None
    return row | {"gate": one.outcome, "why not": one.reason}


def _runs(cost: Cost, *, shown: bool) -> dict[str, Scalar]:
    """Median and 99th percentile of the other ways of running, in microseconds."""
    return {
        f"{_rows(one.batch)}, {_threads(one.threads)}, p50 / p99, us": (
            f"{one.p50_s * 1e6:,.0f} / {one.p99_s * 1e6:,.0f}" if shown else None
        )
        for one in cost.runs
        if (one.threads, one.batch) != (1, 1)
    }


def _threads(number: int) -> str:
    return f"{number} thread{'' if number == 1 else 's'}"


def _rows(number: int) -> str:
    return f"{number} row{'' if number == 1 else 's'}"
