"""Through which doors an artifact comes into the product, each as a person or a program opens it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.errors import NotFound
from penstock.packages.archive import Caps, unpack
from penstock.packages.archives.mar import MarArchive
from penstock.packages.golden import GOLDEN, Golden, encode_golden
from penstock.packages.manifest import FORMAT, MANIFEST
from penstock.packages.read import open_package
from penstock.records import FileEntry, Manifest, encode
from penstock.runtime.engine import open_engine, prove
from penstock.tensors import Signature, TensorSpec
from tests.security.places import Places

CAPS = Caps(files=200, total_bytes=32 << 20)
Door = Callable[[Path, Path], None]
SIGNATURE = Signature(
    inputs=(TensorSpec(name="X", datatype="FP32", shape=(-1, 3)),),
    outputs=(TensorSpec(name="prediction", datatype="FP32", shape=(-1, 1)),),
)


def packaged(path: Path, out: Path) -> None:
    """`penstock package` of a file or a folder."""
    build(path, BuildRequest(name="model", out=out, lock=False, patience_s=30.0))


def packaged_with_code(path: Path, out: Path) -> None:
    """The same with ``--allow-code``: what it runs, it runs behind the walls."""
    build(path, BuildRequest(name="model", out=out, lock=False, patience_s=30.0, allow_code=True))


def packaged_as_a_class(path: Path, out: Path) -> None:
    """`penstock package FILE.py:Class --data rows.csv`: its code runs in the sandbox, and answers for it."""
    rows = pd.DataFrame(
        {"a": [0.5, 1.0, 2.0, 4.0, 8.0], "b": [1.0, 0.0, 3.0, 1.0, 2.0], "y": [1.5, 1.0, 5.0, 5.0, 10.0]}
    )
    asked = BuildRequest(name="model", out=out, data=rows, labels="y", lock=False, patience_s=30.0)
    built = build(path, asked)
    open_package(built.folder, digest=built.digest)


def unpacked(path: Path, out: Path) -> None:
    """A package in one file, as `penstock pull` and imports open it."""
    unpack(path, out / "package", caps=CAPS)
    open_package(out / "package")


def imported(path: Path, out: Path) -> None:
    """TorchServe's archive."""
    with suppress(NotFound):
        MarArchive().named(path)
    MarArchive().make(path, out)


def served(path: Path, out: Path) -> None:
    """`penstock serve` of a folder that somebody made around it, unsigned."""
    engine = open_engine(open_package(around(path, out / "package", kind="onnx")))
    try:
        prove(engine, open_package(out / "package"))
    finally:
        engine.close()


def around(path: Path, folder: Path, *, kind: str) -> Path:
    """A package's folder by hand: every digest is right, and the model is hostile."""
    compiled = kind == "onnx"
    entry = "model/model.onnx" if compiled else "model/original.joblib"
    rows = np.array([[0.5, 1.5, 2.5], [1.0, 0.0, 3.0]], np.float32)
    golden = Golden(inputs={"X": rows}, outputs={"prediction": rows @ np.array([[1], [2], [3]], np.float32)})
    files = {entry: path.read_bytes(), GOLDEN: encode_golden(golden)}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    manifest = Manifest(
        format=FORMAT,
        name="hostile",
        kind=kind,
        engine="onnxruntime" if compiled else "python",
        entry=entry,
        task="regression",
        signature=SIGNATURE,
        files={
            name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in files.items()
        },
    )
    (folder / MANIFEST).write_bytes(encode(manifest))
    return folder


def served_in_the_sandbox(path: Path, out: Path) -> None:
    """The same of a pickle, which is loaded behind the walls without being audited again."""
    engine = open_engine(open_package(around(path, out / "package", kind="sklearn")))
    engine.close()


def served_as_it_is(path: Path, out: Path) -> None:
    """`penstock serve PACKAGE`: verified, opened and proven, as its worker does it."""
    package = open_package(path)
    engine = open_engine(package, environments=out / "environments")
    try:
        prove(engine, package)
    finally:
        engine.close()


def through(places: Places) -> dict[str, Door]:
    """The doors of packages that lead into other processes, or through a registry."""
    signers = ("nobody", "a stranger", "revoked", "trusted")
    pulls = {f"pull, {one}": lambda path, out, one=one: places.pulled(path, one) for one in signers}
    return {
        "serve PACKAGE": served_as_it_is,
        **pulls,
        "load": lambda path, out: places.loaded(path),
        "release": lambda path, out: places.released(path),
    }


DOORS: dict[str, Door] = {
    "build": packaged,
    "code": packaged_with_code,
    "class": packaged_as_a_class,
    "unpack": unpacked,
    "mar": imported,
    "serve": served,
    "serve code": served_in_the_sandbox,
}
MAY_PASS = frozenset({"code", "class", "serve code", "serve PACKAGE", "pull, trusted", "load", "release"})
"""Where code is allowed, or somebody who is trusted signed it, it may run, as long as nothing of it gets out."""
FRESH = frozenset({"class"})
"""What is left in the sandbox's folder counts here, so that no fork of a template may stand for it."""
