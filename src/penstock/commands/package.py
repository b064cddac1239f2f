"""`penstock package`: a trained model becomes a version in the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.app.declaring import read_declared
from penstock.app.opening import open_app
from penstock.app.packaging import PackageRequest, package
from penstock.app.repositories import code_state
from penstock.build.declaration import read_transforms
from penstock.build.dependencies.proving import NOTE
from penstock.commands.screen import DEFAULT_HOME, As, DryRun, Home, Json, answering, out, progress, show
from penstock.gate.data import parse_sources
from penstock.records import Declared, Manifest

NOTES = ("code_allowed", "refused", "requirements_differ", "lock_without_hashes")
"""What a manifest's source says that whoever packages should read."""


def run(
    model: Annotated[
        Path,
        typer.Argument(
            help="The trained model. A file: joblib, pickle, skops, ONNX, PyTorch's, .keras, a booster's,"
            " FILE.py:Class. A folder: Hugging Face's, a SavedModel, MLflow's, one with model.py. Or mlflow:,"
            " savedmodel: or triton:FOLDER, mar:FILE."
        ),
    ],
    name: Annotated[str, typer.Option(help="The model's name in the registry.")],
    data: Annotated[
        list[str],
        typer.Option(
            help="One file, or train=F validation=F test=F: CSV, Parquet, npz, a folder of it, a Delta table (TABLE@3),"
            " FILE@COMMIT, a DVC file; MLflow's folders may do without."
        ),
    ] = [],  # noqa: B006
    label: Annotated[str, typer.Option(help="The column that holds the truth; an encoder has none.")] = "",
    time: Annotated[str, typer.Option(help="Column that says when; tests then respect whole days.")] = "",
    group: Annotated[str, typer.Option(help="Column that says who; tests then respect whole groups.")] = "",
    allow_code: Annotated[
        bool,
        typer.Option(
            "--allow-code", help="Let the model bring code outside the known libraries; it runs in the sandbox alone."
        ),
    ] = False,
    environment: Annotated[
        Path | None, typer.Option(help="requirements.txt or a lock: an environment of the model's own.")
    ] = None,
    prove_environment: Annotated[
        bool,
        typer.Option(
            "--prove-environment", help="Build the lock's environment from an index and ask the original in it."
        ),
    ] = False,
    source: Annotated[str, typer.Option(help="Where the code came from; git's commit here by default.")] = "",
    card: Annotated[
        Path | None, typer.Option(help="YAML that declares intended_use, owner, risk, limitations and the like.")
    ] = None,
    transforms: Annotated[
        Path | None, typer.Option(help="YAML that declares steps before and behind the model: they become part of it.")
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(help="An execution provider of ONNX Runtime for its graph; again for the next choice."),
    ] = None,
    allow_cpu: Annotated[
        bool, typer.Option("--allow-cpu", help="Falling back from them to the processor is no error.")
    ] = False,
    home: Home = DEFAULT_HOME,
    token: As = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Open the model in the sandbox, compile it, prove parity, lock, sign and register it.

    Example: penstock package model.joblib --name churn --data validation.parquet --label churned

    A class of your own: penstock package my_model.py:Churn --name churn --data rows.csv --label churned
    """
    with answering(json=json):
        tables = parse_sources(data) if data else {}
        request = PackageRequest(
            name=name,
            model=model,
            tables=dict(tables.items()),
            label=label,
            time=time,
            group=group,
            allow_code=allow_code,
            environment=environment,
            prove_environment=prove_environment,
            source={"commit": source} if source else code_state(Path.cwd(), apart=home),
            declared=read_declared(card) if card else Declared(),
            providers=tuple(provider or ()),
            allow_cpu=allow_cpu,
            transforms=read_transforms(transforms) if transforms else None,
        )
        app = open_app(home, token=token)
        with progress("package", json=json) as step:
            version, manifest = package(app, request, on_step=step, dry_run=dry_run)
        answer = {
            "model": version.model,
            "version": version.version,
            "digest": version.digest,
            "kind": manifest.kind,
            "engine": manifest.engine,
            "task": manifest.task,
            "classes": manifest.classes,
            "inputs": manifest.signature.inputs,
            "outputs": manifest.signature.outputs,
            "parity": manifest.parity,
            NOTE: manifest.source.get(NOTE, ""),
            "notes": {name: manifest.source[name] for name in NOTES if name in manifest.source},
            "dry_run": dry_run,
        }
        show(answer, json=json, text=lambda: _tell(version.ref, version.digest, manifest))


def _tell(ref: str, digest: str, manifest: Manifest) -> None:
    """What came of it, and what to type next."""
    out.print(f"[bold]{ref}[/]  {digest[:19]}…  {manifest.kind} on {manifest.engine}")
    parity = manifest.parity
    if parity is not None and parity.passed:
        beside = f" ({parity.threshold_rows:,} next to a split)" if parity.threshold_rows else ""
        labels = "no label differs, " if manifest.classes else ""
        out.print(
            f"  compiled, and equal on {parity.rows:,} rows{beside}: {labels}largest error {parity.max_error:.1e}"
        )
    elif parity is not None:
        out.print(f"  runs as Python in the sandbox: {parity.reason}")
    if manifest.transforms is not None:
        names = ", ".join(step.name for step in manifest.transforms.steps)
        where = "part of the graph" if manifest.transforms.fused else "beside the model, in the sandbox"
        out.print(f"  transforms: {names} ({where})")
        for step in manifest.transforms.steps:
            if step.name == "calibrate":
                out.print(f"  note: it was calibrated on {step.learned_from}")
    if NOTE in manifest.source:
        out.print(f"  its environment is proven: {manifest.source[NOTE]}")
    if "requirements_differ" in manifest.source:
        out.print(f"  note: its requirements.txt asks for {manifest.source['requirements_differ']}")
    if "refused" in manifest.source:
        out.print(f"  note: {manifest.source['refused']}")
    if manifest.classes and not manifest.parameters.get("label"):
        out.print("  note: it answers classes, and nobody said which column is the truth; the gate will ask for it")
        out.print(f"  next: penstock check {ref} --data FILE --label COLUMN")
        return
    out.print(f"  next: penstock check {ref}")
