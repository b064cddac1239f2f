"""Other forms of a package's graph, made in the sandbox and tried there once.

    graph + calibration rows -> Compression.forms -> make -> run the rows -> NN.onnx, forms.json -> [Made]

What comes in: a graph, rows, and a name of the adapters' ``compression`` table, or a graph of the caller's own. What
goes out: each form that loads and answers, and of the others why not. A form may end the process that tries it: some
graphs end the runtime. Then those before it count, and the table says which one it was.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import onnx
from onnx import ModelProto

from penstock.adapters import load
from penstock.build.compression import Compression, ModelForm
from penstock.build.graphs.compact import serialized
from penstock.build.graphs.model import renamed
from penstock.build.parity import run_session
from penstock.build.proof import sandboxed
from penstock.build.reasons import reason_of
from penstock.build.schema import row_count, take
from penstock.errors import ModelFailed, Untrusted
from penstock.packages.manifest import is_numbers
from penstock.packages.tree import read_bytes, scan
from penstock.runtime.graphfile import TEXTS
from penstock.runtime.textfront import open_front
from penstock.tensors import Array, Arrays

ENTRY = "penstock.build.forms:make"
JOURNAL = "forms.json"
OWN = "own graph"
MAX_BYTES = 2 << 30
TRIED_ROWS = 64


class FormTask(msgspec.Struct, frozen=True, kw_only=True):
    """What to make.

    Attributes:
        graph: Path of the package's graph.
        rows: Path of calibration rows, ``.npz`` without objects.
        outputs: Names that every form has to answer.
        compression: A name of the adapters' table; empty to take the caller's graph.
        own: Path of that.
    """

    graph: str
    rows: str
    outputs: tuple[str, ...]
    compression: str = ""
    own: str = ""


class Made(msgspec.Struct, kw_only=True):
    """One form, or why there is none.

    Attributes:
        label: What was done.
        file: In the scratch folder; empty where `reason` says why there is none.
        reason: In words.
        graph: The bytes, once they were fetched.
    """

    label: str
    file: str = ""
    reason: str = ""
    graph: bytes = b""


def make_forms(task: FormTask, rows: Arrays, *, patience_s: float = 600.0) -> list[Made]:
    """Every form that one compression makes of a graph.

    Args:
        task: Its `rows` are written here.
        rows: Conformed inputs to calibrate on.
        patience_s: The longest that all forms of it may take together.

    Returns:
        In the compression's order; the graphs are not audited yet.

    Raises:
        Untrusted: The sandbox left something else than was asked.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        given, scratch = Path(folder) / "given", Path(folder) / "scratch"
        given.mkdir()
        scratch.mkdir()
        place = given / "rows.npz"
        np.savez(place, allow_pickle=False, **{name: _plain(array) for name, array in rows.items()})
        for field in ("graph", "own"):
            if getattr(task, field):
                graph = Path(getattr(task, field))
                copy = given / f"{field}.onnx"
                shutil.copyfile(graph, copy)
                for beside in graph.parent.iterdir() if field == "graph" else ():
                    if is_numbers(beside.name):  # of the package's own graph, in which they have been verified
                        shutil.copyfile(beside, given / beside.name)
                task = msgspec.structs.replace(task, **{field: str(copy)})
        task = msgspec.structs.replace(task, rows=str(place))
        try:
            sandboxed(ENTRY, task, given, scratch, patience_s=patience_s)
        except ModelFailed as error:
            return _left(scratch, task, after=error.message)
        return _left(scratch, task)


def _left(scratch: Path, task: FormTask, after: str = "") -> list[Made]:
    """What the sandbox left; where it ended early, the form that it was at has that for a reason."""
    if JOURNAL not in scan(scratch):
        return [Made(label=task.compression or OWN, reason=after or "it made nothing")]
    try:
        found = msgspec.json.decode(read_bytes(scratch, JOURNAL, limit=1 << 20), type=list[Made])
    except msgspec.DecodeError as error:
        raise Untrusted("the sandbox answered something else than was asked", code="build.bad_answer") from error
    for made in found:
        if made.file:
            made.graph = read_bytes(scratch, made.file, limit=MAX_BYTES)
        elif not made.reason:
            made.reason = after or "it was not made"
    return found


def make(arguments: object, scratch: Path) -> object:
    """The sandbox's entry: a `FormTask` as decoded JSON in; `JOURNAL` and graphs in the scratch folder out."""
    task = msgspec.convert(arguments, FormTask)
    model = onnx.load_model(task.graph)
    with np.load(task.rows, allow_pickle=False) as stored:
        rows = {name: _object(stored[name]) for name in stored.files}
    every: list[Made] = []
    try:
        for form in _forms(task, model, rows):
            every.append(Made(label=form.label))
            _write(scratch, every)
            _try(_with_texts(form, model), every[-1], rows, task.outputs, scratch)
            _write(scratch, every)
    except NotImplementedError as error:
        every.append(Made(label=task.compression, reason=f"nothing to act on: {error}"))
    _write(scratch, every)
    return len(every)


def _forms(task: FormTask, model: ModelProto, rows: Arrays) -> Iterator[ModelForm]:
    """Those of the compression, or the one that the caller made."""
    if not task.compression:
        own = onnx.load_model(task.own, load_external_data=False)
        names = [one.name for one in own.graph.output]
        yield ModelForm(OWN, lambda: own if set(task.outputs) <= set(names) else renamed(own))
        return
    front = open_front({one.key: one.value for one in model.metadata_props})
    # A graph behind a tokenizer is calibrated on what the tokenizer makes of the texts.
    fed = rows if front is None else front.fed(rows)
    yield from cast("Compression", load("compression", task.compression)()).forms(model, fed)


def _with_texts(form: ModelForm, model: ModelProto) -> ModelForm:
    """The form behind the tokenizer that its parent stands behind; what rewrites graphs drops metadata."""
    kept = [one for one in model.metadata_props if one.key == TEXTS]

    def make() -> ModelProto:
        made = form.make()
        if kept and all(one.key != TEXTS for one in made.metadata_props):
            made.metadata_props.extend(kept)
        return made

    return ModelForm(form.label, make) if kept else form


def _try(form: ModelForm, made: Made, rows: Arrays, outputs: tuple[str, ...], scratch: Path) -> None:
    """Make it and run it."""
    try:
        graph = serialized(form.make())
        run_session(graph, take(rows, slice(0, min(row_count(rows), TRIED_ROWS))), outputs)
    except Exception as error:  # a form that cannot be made is told, not raised: the others count
        made.reason = f"it cannot be made: {reason_of(error)}"
        return
    file = f"{len(list(scratch.glob('*.onnx'))):02}.onnx"
    (scratch / file).write_bytes(graph)
    made.file = file


def _write(scratch: Path, every: list[Made]) -> None:
    """The journal, whole each time: the process may end at any form."""
    (scratch / JOURNAL).write_bytes(msgspec.json.encode(every))


def _plain(array: Array) -> Array:
    """Text as numpy stores it without objects."""
    return array.astype(str) if array.dtype.kind == "O" else array


def _object(array: Array) -> Array:
    """Text as ONNX Runtime takes it."""
    return array.astype(object) if array.dtype.kind == "U" else array
