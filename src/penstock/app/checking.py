"""Ask the gate: a version and its data come in, a verdict is recorded, a report is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from penstock.access.identities import require
from penstock.access.permissions import CHECK
from penstock.app.app import App
from penstock.app.policies import policy_of
from penstock.app.references import open_reference, reopen
from penstock.app.tables import dataset_of
from penstock.errors import NotFound
from penstock.gate.check import Candidate, GateData
from penstock.gate.data import Columns, gate_data, no_rows, text_columns
from penstock.gate.freeform import answers_bodies
from penstock.gate.policy import Policy
from penstock.gate.report import render
from penstock.gate.run import run
from penstock.packages.read import Package
from penstock.records import Manifest, Verdict, encode
from penstock.registry.state import VersionState
from penstock.runtime.engine import open_engine

Step = Callable[[str], None]


@dataclass(frozen=True)
class CheckRequest:
    """What to hold a version against.

    Attributes:
        tables: Part (train, validation, test) -> file; empty takes the data that the package names.
        label: Column that holds the truth; empty takes the one that was named at packaging.
        policy: A policy file; None takes ``policy.yaml`` of the home's configuration, else the starter policy.
        champion: A version to be no worse than; empty takes the alias ``champion`` where there is one.
    """

    tables: dict[str, Path] = field(default_factory=dict)
    label: str = ""
    policy: Path | None = None
    champion: str = ""


def check(app: App, ref: str, request: CheckRequest | None = None, *, on_step: Step = lambda step: None) -> Verdict:
    """Run the policy's checks on a version and record the verdict.

    Raises:
        NotFound: The version, or the data it names, is not here.
        Untrusted: A data file is no longer the one that the package names.
    """
    require(app.identity, CHECK)
    asked = request or CheckRequest()
    known = app.resolve(ref)
    policy = policy_of(app, asked.policy)
    package = app.open_package(known.version.digest)
    data = rows_to_judge(app, package.manifest, known, asked.tables, policy, label=asked.label)
    champion = _champion(app, known, asked.champion)
    verdict = _judge(app, package, data, policy, champion, on_step)
    verdict = msgspec.structs.replace(verdict, version=known.version.version)
    verdict = msgspec.structs.replace(verdict, report=_keep_report(app, verdict, package.manifest))
    app.registry.append("verdict.given", f"model/{known.version.model}", verdict, by=app.identity)
    return verdict


def report(app: App, verdict: Verdict, kind: str = "html") -> bytes:
    """The verdict as a page (``html``) or a record (``json``)."""
    return encode(verdict) if kind == "json" else report_path(app, verdict).read_bytes()


def report_path(app: App, verdict: Verdict) -> Path:
    """Where the page lies.

    Raises:
        NotFound: It was not kept.
    """
    return app.registry.reports.path(verdict.report, suffix=".html")


def _judge(
    app: App, package: Package, data: GateData, policy: Policy, champion: VersionState | None, on_step: Step
) -> Verdict:
    """Open the engines, ask, close them."""
    engines = app.home / "environments"
    engine = open_engine(package, environments=engines)
    rival = open_engine(app.open_package(champion.version.digest), environments=engines) if champion else None
    try:
        candidate = Candidate(
            package=package,
            engine=engine,
            data=data,
            champion=rival,
            champion_name=champion.version.ref if champion else "",
            precision=policy.precision,
        )
        return run(candidate, policy, progress=lambda name, at, of: on_step(f"{name} ({at + 1} of {of})"))
    finally:
        engine.close()
        if rival is not None:
            rival.close()


def rows_to_judge(
    app: App, manifest: Manifest, known: VersionState, tables: dict[str, Path], policy: Policy, *, label: str = ""
) -> GateData:
    """The rows to judge on: those given, or those the version was registered with."""
    label = label or str(manifest.parameters.get("label", ""))
    columns = Columns(
        label=label,
        time=str(manifest.parameters.get("time", "")),
        group=str(manifest.parameters.get("group", "")),
        beside=policy.reads,
    )
    if tables:
        found = {role: open_reference(table, home=app.home) for role, table in tables.items()}
    else:
        found = {one.role: reopen(one, home=app.home) for one in known.version.datasets}
    if not found and answers_bodies(manifest):
        return no_rows(manifest.signature)
    if not found:
        raise NotFound("the version names no data to be checked on", "give --data validation=FILE", code="gate.no_data")
    text = text_columns(manifest.signature)
    frames = {role: one.read(text=text) for role, one in found.items()}
    datasets = [
        dataset_of(one, frames[role], name=f"{manifest.name}-{role}", role=role, time=columns.time)
        for role, one in found.items()
    ]
    return gate_data(frames, manifest.signature, columns, datasets=datasets)


def _champion(app: App, known: VersionState, wanted: str) -> VersionState | None:
    """The version to be compared with, if there is one and it is another."""
    model = app.state().model(known.version.model)
    if not wanted and "champion" not in model.aliases:
        return None
    champion = app.resolve(wanted or f"{known.version.model}@champion")
    return None if champion.version.version == known.version.version else champion


def _keep_report(app: App, verdict: Verdict, manifest: Manifest) -> str:
    """Keep the page under its content's digest."""
    return app.registry.reports.put_bytes(render(verdict, manifest).encode(), suffix=".html")
