"""Turn a trained model into a registered version: build, keep, refer to its data, write it down."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from penstock.access.identities import require
from penstock.access.permissions import PACKAGE
from penstock.app.app import App
from penstock.app.registering import register_package, version_of
from penstock.app.tables import keep_table
from penstock.build.assemble import build
from penstock.build.declaration import Declaration
from penstock.build.request import BuildRequest, Table
from penstock.build.sources import find_source
from penstock.errors import BadConfig, InvalidInput
from penstock.records import Declared, Manifest, Scalar, Version
from penstock.runtime.providers import require_known

Step = Callable[[str], None]


@dataclass(frozen=True)
class PackageRequest:
    """What a person hands over with a model.

    Attributes:
        name: The model's name in the registry.
        model: A fitted estimator, or the path of a saved one.
        tables: Part (train, validation, test) -> file or frame; validation must be there.
        label: Column of the tables that holds the truth.
        time: Column that says when; empty without.
        group: Column that says who; empty without.
        parameters: What the trainer says of the model.
        source: Where the code came from.
        declared: What it is for, and who answers for it.
        providers: Execution providers that are to run its graph, the first choice first; empty for the processor.
        allow_cpu: Falling back from them to the processor is no error.
        parent: Digest of the package it grew out of.
        allow_code: A pickle may name code outside the known libraries.
        transforms: Steps declared before and behind the model; None for none.
        prove_environment: Build the lock's environment and have the original answer the examples in it.
        environment: Requirements, or a lock, of the model's own; None for what is installed here.
    """

    name: str
    model: object
    tables: dict[str, Table]
    label: str
    time: str = ""
    group: str = ""
    parameters: dict[str, Scalar] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    declared: Declared = field(default_factory=Declared)
    providers: tuple[str, ...] = ()
    allow_cpu: bool = False
    parent: str = ""
    allow_code: bool = False
    environment: Path | None = None
    prove_environment: bool = False
    transforms: Declaration | None = None


def package(
    app: App, request: PackageRequest, *, on_step: Step = lambda step: None, dry_run: bool = False
) -> tuple[Version, Manifest]:
    """Build the package and register it as the model's next version.

    Args:
        app: Who packages, where.
        request: The model and its data.
        on_step: Told the name of each step.
        dry_run: Build and prove, but keep and register nothing.

    Raises:
        Untrusted: The model's file names code that the policy does not allow.
        InvalidInput: Model or data are of no known kind, or do not fit each other.
        BadConfig: A provider is none, or the processor is allowed beside no provider.
        Conflict: Somebody else registered a version meanwhile.
    """
    require(app.identity, PACKAGE)
    require_known(request.providers)
    if request.allow_cpu and not request.providers:
        raise BadConfig(
            "--allow-cpu allows falling back from an execution provider, and none is declared",
            "name one with --provider, or leave --allow-cpu out: a graph runs on the processor anyway",
            code="runtime.no_provider",
        )
    if "validation" not in request.tables and (request.tables or not _brings_rows(request.model)):
        raise InvalidInput("there are no validation rows", "give --data validation=FILE", where="data")
    kept = {
        role: keep_table(table, home=app.home, name=request.name, role=role, time=request.time)
        for role, table in request.tables.items()
    }
    datasets = tuple(dataset for _, dataset in kept.values())
    with tempfile.TemporaryDirectory(prefix="penstock-") as scratch:
        built = build(
            request.model,
            BuildRequest(
                name=request.name,
                out=Path(scratch),
                data=_rows(request, kept["validation"][0]) if kept else None,
                labels=request.label if kept else "",
                parts={part: _rows(request, kept[part][0]) for part in ("train", "test") if part in kept},
                transforms=request.transforms,
                time=request.time if kept else "",
                key=app.package_key,
                datasets=datasets,
                parameters=request.parameters | {"label": request.label, "time": request.time, "group": request.group},
                source=request.source,
                declared=request.declared,
                providers=request.providers,
                allow_cpu=request.allow_cpu,
                parent=request.parent,
                allow_code=request.allow_code,
                requirements=request.environment,
                prove_environment=request.prove_environment,
                environments=app.home / "environments",
                progress=on_step,
            ),
        )
        if dry_run:
            return version_of(app, built, number=0), built.manifest
        on_step("keeping and registering it")
        return register_package(app, built), built.manifest


def _brings_rows(model: object) -> bool:
    """A folder of MLflow's may hold an example; the gate needs data of its own all the same."""
    source = find_source(model) if isinstance(model, Path) else None
    return source is not None and not source.named_code


def _rows(request: PackageRequest, frame: pd.DataFrame) -> pd.DataFrame:
    """What the model may see."""
    return frame.drop(columns=_apart(request, frame.columns.tolist()))


def _apart(request: PackageRequest, columns: list[str]) -> list[str]:
    """Columns that no model sees: who it was about."""
    return [name for name in (request.group,) if name and name in columns]
