"""A package with another graph: the parent's signature, classes, data and profile, and examples that the graph answers.

    parent + graph -> audit -> the parent's golden examples -> golden.json with the tolerance that was found
                   -> files, manifest (parent named), bill, signature -> Package

The golden answers stay the parent's, which are those of the model where it was trained; what differs is how far an
answer may lie from them. An example whose label the graph changes, or that lies further away than the form may (rows
like no other are among them), is left out, and counted in the parity report.
"""

from __future__ import annotations

import shutil
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import msgspec
import numpy as np

from penstock.adapters import load
from penstock.build.assemble import COMPILED, PARITY, PROFILE, finish
from penstock.build.bom import NAME as BILL
from penstock.build.bom import add_bill
from penstock.build.dependencies.lock import NAME as LOCK
from penstock.build.dependencies.lock import lock
from penstock.build.format import ModelFormat
from penstock.build.request import BuildRequest
from penstock.build.schema import take
from penstock.errors import ModelFailed, Untrusted
from penstock.packages.digests import sha256_file
from penstock.packages.golden import GOLDEN, TOLERANCE, Golden, apart_by_row, encode_golden
from penstock.packages.read import Package
from penstock.packages.tree import scan
from penstock.records import FileEntry, Manifest, Parity, encode
from penstock.runtime.engine import open_engine
from penstock.runtime.transform import TRANSFORMS
from penstock.tensors import Arrays

FORMS = "forms.json"
"""The table of all forms that were tried, in the package of the one that was chosen."""
HEADROOM = 2.0
"""Another machine may round otherwise: an answer may lie this much further from the parent's than it did here."""

_OF_THE_ORIGINAL = ("code_allowed", "requirements_differ", "lock_without_hashes", "environment")


class Reform(NamedTuple):
    """Another graph for a package.

    Attributes:
        label: What was done to it.
        graph: Serialised; it comes from the sandbox.
        tolerance: How far an example's numbers may lie from the parent's: absolute below 1, relative above.
        forms: The table of what was tried, as JSON; empty for none.
    """

    label: str
    graph: bytes
    tolerance: float
    forms: bytes = b""


def with_graph(parent: Package, reform: Reform, request: BuildRequest) -> Package:
    """Make a package that answers by another graph.

    Args:
        parent: Whose model it is.
        reform: The graph.
        request: Where to, and who signs.

    Raises:
        Untrusted: The graph is not plain ONNX.
        ModelFailed: ONNX Runtime does not take it, or it answers no golden example with the parent's label.
    """
    request.out.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix=".forming-", dir=request.out))
    try:
        (folder / "model").mkdir()
        (folder / COMPILED).write_bytes(reform.graph)
        _audit(folder / COMPILED)
        for name in (PROFILE, TRANSFORMS):
            if name in parent.manifest.files:
                shutil.copyfile(parent.path(name), folder / name)
        (folder / LOCK).write_text(lock((), ask_index=False).text)
        golden, parity = _examples(folder, parent, reform.tolerance)
        (folder / GOLDEN).write_bytes(encode_golden(golden))
        (folder / PARITY).write_bytes(encode({"parity": parity, "engine": "onnxruntime", "form": reform.label}))
        if reform.forms:
            (folder / FORMS).write_bytes(reform.forms)
        return finish(folder, add_bill(folder, _manifest(folder, parent, reform.label, parity)), request)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _audit(graph: Path) -> None:
    """The same question that every graph is asked before it is packaged."""
    onnx: ModelFormat = load("format", "onnx")()
    refused = onnx.audit(graph).refused
    if refused:
        raise Untrusted(f"the graph is not plain ONNX: {', '.join(refused[:5])}", "export it with standard operators")


def _examples(folder: Path, parent: Package, most: float) -> tuple[Golden, Parity]:
    """The parent's examples with the graph's tolerance, and what comparing them showed."""
    known = parent.golden()
    draft = Package(folder=folder, manifest=_draft(folder, parent.manifest), digest="")
    engine = open_engine(draft)
    try:
        given = engine.run(known.inputs)
    finally:
        engine.close()
    same = np.ones(known.rows, dtype=np.bool_)
    apart = np.zeros(known.rows)
    for name, wanted in known.outputs.items():
        if wanted.dtype.kind == "f":
            apart = np.maximum(apart, apart_by_row(wanted, given[name]))
        else:
            same &= np.asarray(wanted == given[name]).reshape(known.rows, -1).all(axis=1)
    same &= apart <= most
    if not same.any():
        raise ModelFailed("it answers no golden example as its parent does", "leave this form out", code="build.unlike")
    error = float(apart[same].max())
    kept: Arrays = take(known.inputs, np.flatnonzero(same))
    tolerance = max(known.tolerance, TOLERANCE, HEADROOM * error)
    golden = Golden(inputs=kept, outputs=take(known.outputs, np.flatnonzero(same)), tolerance=tolerance)
    left_out = int((~same).sum())
    reason = f"{left_out} golden examples get another label, or lie further away, and are left out" if left_out else ""
    parity = Parity(
        rows=known.rows,
        threshold_rows=0,
        label_flips=left_out,
        max_error=error,
        tolerance=tolerance,
        passed=True,
        reason=reason,
    )
    return golden, parity


def _draft(folder: Path, manifest: Manifest) -> Manifest:
    """Enough of a manifest to open the graph by."""
    files = {COMPILED: FileEntry(sha256=sha256_file(folder / COMPILED), size=(folder / COMPILED).stat().st_size)}
    return msgspec.structs.replace(manifest, engine="onnxruntime", entry=COMPILED, files=files)


def _manifest(folder: Path, parent: Package, label: str, parity: Parity) -> Manifest:
    """The parent's, but for what is new."""
    files = {name: FileEntry(sha256=sha256_file(folder / name), size=size) for name, size in scan(folder).items()}
    files.pop(BILL, None)
    source = {key: text for key, text in parent.manifest.source.items() if key not in _OF_THE_ORIGINAL}
    return msgspec.structs.replace(
        parent.manifest,
        kind="onnx",
        engine="onnxruntime",
        entry=COMPILED,
        files=files,
        lock_digest=files[LOCK].sha256,
        parity=parity,
        parent=parent.digest,
        created_at=time.time(),
        builder=f"penstock {version('penstock')}",
        source=source | {"form": label},
    )
