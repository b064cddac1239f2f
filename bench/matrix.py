"""`python -m bench.matrix`: every kind of model packaged with default settings, served, asked through HTTP, compared.

kind -> its framework's own answers + package -> one server -> V2 requests -> results/matrix/*.json -> docs/models.md

Each kind in a process of its own, so that no framework is beside another one. Run it in the environment with every
framework: ``.venv/frameworks/bin/python -m bench.matrix``; ``--only TEXT`` those whose name holds the text, ``--write``
the page from the results that are there.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pandas as pd

from bench.kinds.kind import Array, Asked, Brought, Kind
from bench.places import DOCS, RESULTS
from bench.server import free_port
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.packages.read import Package
from penstock.tensors import DTYPES, TensorSpec

FOLDER = RESULTS / "matrix"
PAGE = DOCS / "models.md"
FAMILIES = ("scikit", "boosters", "torches", "tensorflows", "graphs", "texts", "folders")
VALUES_A_REQUEST = 200_000
HEAD = """# Every kind of model, beside its own framework

Packaged with default settings, served, and asked through HTTP (V2, JSON): rows that it was neither trained nor packaged
with. *Flips* are labels that differ from the framework's own; the error is the largest one of a number, as a share of
the largest number of its output. *Engine* says what answers: the graph that it was compiled to, or the model itself
in the sandbox.

| model | format | engine | rows | flips | largest error | package | packaged in |
|---|---|---|---:|---:|---:|---:|---:|
"""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one kind; `failed` says what went wrong, and the rest is empty then."""

    name: str
    format: str = ""
    engine: str = ""
    rows: int = 0
    flips: int = 0
    error: float = 0.0
    tolerance: float = 0.0
    package_bytes: int = 0
    seconds: float = 0.0
    parity: str = ""
    failed: str = ""

    @property
    def holds(self) -> bool:
        """Whether it answers as its framework does."""
        return not self.failed and not self.flips and self.error <= self.tolerance


def all_kinds(families: Sequence[str] = FAMILIES) -> Iterator[tuple[str, Kind]]:
    """Every kind with its family, in the page's order."""
    for family in families:
        for kind in import_module(f"bench.kinds.{family}").kinds():
            yield family, kind


def examine(kind: Kind, folder: Path) -> Line:
    """Package, serve, ask and compare one kind."""
    brought = kind.bring(folder)
    began = time.monotonic()
    package = build(brought.model, BuildRequest(name="model", out=folder / "packages", data=brought.data))
    seconds = time.monotonic() - began
    answers = ask(package, brought.asked, folder)
    flips, error = compare(brought, answers)
    manifest = package.manifest
    return Line(
        name=kind.name,
        format=manifest.kind,
        engine=manifest.engine,
        rows=_count(brought.asked),
        flips=flips,
        error=error,
        tolerance=kind.tolerance,
        package_bytes=sum(entry.size for entry in manifest.files.values()),
        seconds=seconds,
        parity="" if manifest.parity is None else manifest.parity.reason,
    )


def ask(package: Package, asked: Asked, folder: Path) -> Mapping[str, Array]:
    """Serve a package alone and ask it for all rows, so many a request.

    Raises:
        RuntimeError: An answer is none.
    """
    port = free_port()
    command = [sys.executable, "-m", "penstock.serve", "--package", str(package.folder), "--name", "model"]
    log = (folder / "server.log").open("wb")
    server = subprocess.Popen([*command, "--port", str(port), "--workers", "1", "--spares", "0"], stderr=log)
    try:
        _wait(server, port, folder / "server.log")
        inputs = package.manifest.signature.inputs
        width = sum(int(np.prod(array.shape[1:], initial=1)) for array in tensors(inputs, asked).values())
        step = max(1, min(1000, VALUES_A_REQUEST // max(width, 1)))
        connection = HTTPConnection("127.0.0.1", port, timeout=300)
        found = [
            _infer(connection, inputs, {name: array[at : at + step] for name, array in tensors(inputs, asked).items()})
            for at in range(0, _count(asked), step)
        ]
    finally:
        server.terminate()
        server.wait(30)
        log.close()
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def tensors(inputs: tuple[TensorSpec, ...], asked: Asked) -> Mapping[str, Array]:
    """The rows as the signature's inputs want them."""
    if not isinstance(asked, pd.DataFrame):
        if len(inputs) == 1 and len(asked) == 1:
            return {inputs[0].name: next(iter(asked.values()))}
        return {spec.name: asked[spec.name] for spec in inputs}
    if len(inputs) == 1 and inputs[0].name not in asked.columns:
        return {inputs[0].name: asked.to_numpy()}
    return {spec.name: asked[spec.name].to_numpy().reshape(-1, *spec.shape[1:]) for spec in inputs}


def _infer(connection: HTTPConnection, inputs: tuple[TensorSpec, ...], rows: Mapping[str, Array]) -> dict[str, Array]:
    """One request."""
    sent = []
    for spec in inputs:
        array = rows[spec.name]
        text = spec.datatype == "BYTES"
        if text:
            array = np.array(["" if pd.isna(one) else str(one) for one in array.ravel()]).reshape(array.shape)
        elif array.dtype.kind != "f":
            array = array.astype(DTYPES[spec.datatype])
        data = array.ravel().tolist()
        sent.append({"name": spec.name, "shape": list(array.shape), "datatype": spec.datatype, "data": data})
    body = msgspec.json.encode({"inputs": sent})
    connection.request("POST", "/v2/models/model/infer", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} {content[:300].decode(errors='replace')}")
    return {
        one["name"]: np.array(one["data"], dtype=object if one["datatype"] == "BYTES" else None).reshape(one["shape"])
        for one in json.loads(content)["outputs"]
    }


def compare(brought: Brought, answers: Mapping[str, Array]) -> tuple[int, float]:
    """Labels that differ, and the largest error of a number.

    Raises:
        RuntimeError: The server answers other outputs than the framework.
    """
    flips, error = 0, 0.0
    lacking = set(brought.answers) - set(answers)
    if lacking:
        raise RuntimeError(f"no answer has {', '.join(sorted(lacking))}: {', '.join(sorted(answers))}")
    for name, own in brought.answers.items():
        got = answers[name].reshape(own.shape)
        if own.dtype.kind in "OUS":
            flips += int((got.astype(str) != own.astype(str)).sum())
            continue
        distance = np.abs(got.astype(np.float64) - own.astype(np.float64))
        error = max(error, float(distance.max()) / max(float(np.abs(own).max()), 1e-9))
    return flips, error


def _count(asked: Asked) -> int:
    return len(asked) if isinstance(asked, pd.DataFrame) else len(next(iter(asked.values())))


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until it is ready."""
    for _ in range(1200):
        if server.poll() is not None:
            raise RuntimeError(f"the server ended: {log.read_text()[-600:]}")
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the server does not become ready")


def file_of(name: str) -> Path:
    """Where a kind's line is kept."""
    return FOLDER / (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".json")


def run_one(family: str, name: str) -> None:
    """One kind in this process; its line is written whatever happens."""
    kind = next(one for _, one in all_kinds([family]) if one.name == name)
    with TemporaryDirectory(prefix="matrix-") as folder:
        try:
            line = examine(kind, Path(folder))
        except Exception as error:
            line = Line(name=name, failed=f"{type(error).__name__}: {error}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    file_of(name).write_bytes(msgspec.json.encode(line))


def page(lines: list[Line]) -> str:
    """The page of the documentation."""
    rows = []
    for line in lines:
        if line.failed:
            rows.append(f"| {line.name} | | | | | not shown: {line.failed[:80]} | | |")
            continue
        engine = "ONNX graph" if line.engine == "onnxruntime" else "sandbox"
        size = f"{line.package_bytes / 1e6:.2f} MB"
        rows.append(
            f"| {line.name} | {line.format} | {engine} | {line.rows:,} | {line.flips} | {line.error:.1e} | {size} "
            f"| {line.seconds:.0f} s |"
        )
    held = sum(line.holds for line in lines)
    foot = f"\n{held} of {len(lines)} hold. Regenerated by `.venv/frameworks/bin/python -m bench.matrix`.\n"
    return HEAD + "\n".join(rows) + "\n" + foot


def main() -> int:
    """Run the kinds, each in a process, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--one", default=[], nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="the page, from the results that are there")
    options = parser.parse_args()
    if options.one:
        run_one(*options.one)
        return 0
    names = [(family, kind.name) for family, kind in all_kinds()]
    chosen = [] if options.write else [one for one in names if options.only.lower() in one[1].lower()]
    for number, (family, name) in enumerate(chosen, start=1):
        print(f"{number}/{len(chosen)} {name} ... ", end="", flush=True)
        command = [sys.executable, "-m", "bench.matrix", "--one", family, name]
        subprocess.run(command, check=False, capture_output=True)
        line = msgspec.json.decode(file_of(name).read_bytes(), type=Line)
        print(line.failed or f"{line.engine}, {line.flips} flips, error {line.error:.1e}, {line.seconds:.0f} s")
    lines = [msgspec.json.decode(file_of(one).read_bytes(), type=Line) for _, one in names if file_of(one).exists()]
    if not options.only:
        PAGE.write_text(page(lines))
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
