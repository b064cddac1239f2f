"""The part of the build that touches the model, in the sandbox: audit, load, sign its schema, compile, compare.

    file -> format -> audit -> original -> signature -> graphs -> parity -> golden examples, scores

What comes in: paths, as JSON. What goes out: a `Examined` as JSON, and in the scratch folder ``model.onnx`` (where
a graph passed), ``golden.json`` and ``scores.npz``. The caller believes none of it before it has checked it.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from penstock.build.declaration import parse_transforms
from penstock.build.format import Audit, ModelFormat, Original, Specs, detect
from penstock.build.headway import note
from penstock.build.parity import check_graph, open_graph, run_graph, unsteady
from penstock.build.probes import OF_THE_DATA, Rows, answered_row, rows_to_compare
from penstock.build.reasons import reason_of
from penstock.build.refusals import answer_those
from penstock.build.schema import row_count, take, to_arrays, with_nullable
from penstock.build.synthetic import synthetic_rows
from penstock.build.transforming import Teaching, TransformedOriginal, transform
from penstock.errors import InvalidInput, ModelFailed, Untrusted
from penstock.packages.golden import Golden, encode_golden
from penstock.records import Parity
from penstock.runtime.transform import TRANSFORMS
from penstock.runtime.transformed import encode_transforms
from penstock.statistics.arraytables import read_table
from penstock.tensors import DTYPES, Arrays, Signature, TensorSpec, datatype_of

GRAPH = "model.onnx"
GOLDEN = "golden.json"
SCORES = "scores.npz"
TRUTH = "truth"
KEPT = "numbers of the rows"
GOLDEN_ROWS = 32
GOLDEN_VALUES = 400_000
"""Rows that are images are read at each load: fewer of them, so that a package stays a few megabytes."""
MAX_SCORED_ROWS = 200_000


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to examine.

    Attributes:
        model: Path of the file.
        data: Path of rows in Parquet; empty for none.
        allow_code: Load it even where it names code beyond the allow-list.
        transforms: Declared steps as plain data; empty for none.
        train: Path of rows for the steps before it to learn from; empty for those of `data`.
        judged: Path of rows to calibrate on; empty for none.
        truth: Path of their truth.
    """

    model: str
    data: str = ""
    allow_code: bool = False
    transforms: dict[str, object] = {}
    train: str = ""
    judged: str = ""
    truth: str = ""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What a file is, before it is loaded: its format, what it is called in a package, code that was let through."""

    kind: str
    suffix: str
    code: tuple[str, ...] = ()


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        kind: Name of the format.
        suffix: What the original file is called in a package.
        engine: ``onnxruntime`` where a graph passed, else ``python``.
        signature: Types of the outputs are those of the engine.
        classes: Empty for a regression.
        parity: Of the graph that is used, or of the best that is not.
        modules: Top-level packages that the model really uses.
        code: Names beyond the allow-list that were let through.
        refused: Which rows the original itself refuses, in words; they were not compared.
        seconds: Time by step.
    """

    kind: str
    suffix: str
    engine: str
    signature: Signature
    classes: tuple[str | int | bool, ...]
    parity: Parity
    modules: tuple[str, ...]
    code: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    seconds: dict[str, float] = {}


def examine(arguments: object, scratch: Path) -> object:
    """The sandbox's entry: a `Task` as decoded JSON in, an `Examined` as JSON's types out.

    Raises:
        Untrusted: The file names code that no model needs, and that was not allowed.
    """
    warnings.simplefilter("ignore")
    task = msgspec.convert(arguments, Task)
    clock = Laps(scratch)
    path = Path(task.model)
    kind, known, suffix, audit = _audited(task)
    clock.lap("audit")
    original = known.open(path)
    clock.lap("load")
    # A folder of MLflow's may hold rows of its own.
    frame = read_table(Path(task.data)) if task.data else getattr(original, "example", None)
    if task.transforms:
        original = _transformed(original, frame, task)
        clock.lap("transforms")
    found = examine_original(original, frame, scratch, clock, is_graph=kind == "onnx" and not task.transforms)
    if kind == "onnx" and found.engine != "onnxruntime":
        raise _unlike_itself(task, found.parity.reason)
    found = msgspec.structs.replace(
        found, kind=kind, suffix=suffix, modules=_modules(audit.names), code=audit.refused, seconds=clock.laps
    )
    return msgspec.to_builtins(found)


def _unlike_itself(task: Task, reason: str) -> InvalidInput:
    """The refusal of a graph that is not used as it is; nothing stands behind it that the sandbox could run instead."""
    if task.transforms:
        why, hint = f"around a graph every step has to become part of it, and {reason}", "leave that step out"
        return InvalidInput(why, hint, where="transforms")
    return InvalidInput(
        f"the graph does not answer as it answered before: {reason}",
        "export it so that a row's answer hangs on that row alone: no randomness, nothing that sees the whole batch",
        code="build.unsteady",
    )


def look(arguments: object, scratch: Path) -> object:
    """Another entry: a `Task` in, a `Looked` out; the model is not loaded. Errors as `examine`."""
    del scratch
    kind, _, suffix, audit = _audited(msgspec.convert(arguments, Task))
    return msgspec.to_builtins(Looked(kind=kind, suffix=suffix, code=audit.refused))


def examine_original(
    original: Original, frame: pd.DataFrame | None, scratch: Path, clock: Laps, *, is_graph: bool = False
) -> Examined:
    """Everything that is asked of a loaded model, wherever it is.

    Args:
        original: The model.
        frame: Rows; None where there are none.
        scratch: Where graph, examples and scores are written.
        clock: Told the end of each step.
        is_graph: It is one itself, and is refused by its parity unless it passes.

    Returns:
        What was found; kind, suffix, modules and code are the caller's to say.
    """
    inputs, data = _rows(original, frame)
    clock.lap("signature")
    rows = rows_to_compare(original, inputs, data)
    clock.lap("answers")
    graph, parity = _compiled(original, inputs, rows)
    if not graph and not is_graph:
        _require_steady(original, inputs, rows)
    clock.lap("compile")
    outputs = _outputs(rows.expected, graph)
    (scratch / GOLDEN).write_bytes(_golden(rows, outputs))
    if graph:
        (scratch / GRAPH).write_bytes(graph)
    if isinstance(original, TransformedOriginal):
        (scratch / TRANSFORMS).write_bytes(encode_transforms(original.transforms))
    if frame is not None:
        _score(original, inputs, data, graph, tuple(rows.expected), scratch / SCORES)
    clock.lap("scores")
    return Examined(
        kind="",
        suffix="",
        engine="onnxruntime" if graph else "python",
        signature=Signature(inputs=inputs, outputs=outputs),
        classes=original.classes,
        parity=parity,
        modules=(),
        refused=rows.refused,
        seconds=clock.laps,
    )


def _audited(task: Task) -> tuple[str, ModelFormat, str, Audit]:
    """What a file is, and what it would run.

    Raises:
        Untrusted: That is more than a model needs, and was not allowed.
    """
    path = Path(task.model)
    kind, known, suffix = detect(path)
    audit = known.audit(path)
    if audit.refused and not task.allow_code:
        raise Untrusted(
            f"the file would run {', '.join(audit.refused[:8])}{' ...' if len(audit.refused) > 8 else ''}",
            "save a plain estimator, or allow its code if you know who wrote it",
            code="build.foreign_code",
        )
    return kind, known, suffix, audit


def _transformed(original: Original, frame: pd.DataFrame | None, task: Task) -> Original:
    """The model with its declared steps around it.

    Raises:
        InvalidInput: They do not fit it, or there are no rows to learn from.
    """
    if frame is None:
        raise InvalidInput("steps learn from rows, and there are none", "give some with --data", where="data")
    teaching = Teaching(
        train=read_table(Path(task.train)) if task.train else None,
        judged=read_table(Path(task.judged)) if task.judged else None,
        truth=read_table(Path(task.truth))[TRUTH].to_numpy() if task.truth else None,
    )
    return transform(original, parse_transforms(task.transforms), frame, teaching)


class Laps:
    """Seconds by step; whoever waits for them is told of each in a folder."""

    def __init__(self, told: Path | None = None) -> None:
        self.laps: dict[str, float] = {}
        self._told = told
        self._last = time.monotonic()

    def lap(self, step: str) -> None:
        """End of a step."""
        now = time.monotonic()
        self.laps[step] = round(now - self._last, 3)
        self._last = now
        if self._told is not None:
            note(self._told, step)


def _rows(original: Original, frame: pd.DataFrame | None) -> tuple[Specs, Arrays]:
    """The inputs, and rows that fit them."""
    inputs = original.inputs(frame)
    data = synthetic_rows(original, inputs) if frame is None else to_arrays(frame, inputs)
    return with_nullable(original.answer, inputs, answered_row(original, inputs, data)), data


def _compiled(original: Original, inputs: Specs, rows: Rows) -> tuple[bytes, Parity]:
    """The first graph that answers as the original does, or nothing and the reason."""
    outputs = _outputs(rows.expected, b"graph")
    best: Parity | None = None
    for compile_graph in original.graphs(inputs, outputs):
        try:
            graph = compile_graph()
            parity = check_graph(graph, rows)
        except Exception as error:
            sys.excepthook(*sys.exc_info())
            parity = _not_compiled(reason_of(error))
        if parity.passed:
            return graph, parity
        best = best if best is not None and best.max_error <= parity.max_error else parity
    return b"", best or _not_compiled("there is no converter for it")


def _require_steady(original: Original, inputs: Specs, rows: Rows) -> None:
    """Refuse a model whose answer to a row hangs on the rows beside it, or on chance: no engine can be held to it."""
    how = unsteady(lambda part: original.answer(inputs, part), rows.arrays, rows.expected)
    if how:
        raise ModelFailed(f"the model {how}", "fix its seed; turn categories into numbers by a step of a pipeline")


def _not_compiled(why: str) -> Parity:
    """No graph at all."""
    reason = f"it does not compile: {why}"
    return Parity(rows=0, threshold_rows=0, label_flips=0, max_error=1e300, tolerance=1e-5, passed=False, reason=reason)


def _outputs(expected: Arrays, graph: bytes) -> Specs:
    """What the package answers: as the original does, but probabilities of a graph are FP32."""
    return tuple(
        TensorSpec(
            name=name,
            datatype="FP32" if graph and name == "probabilities" else datatype_of(array.dtype),
            shape=(-1, *array.shape[1:]),
        )
        for name, array in expected.items()
    )


def _golden(rows: Rows, outputs: Specs) -> bytes:
    """Examples: most from the data, the others from every kind of hard row."""
    expected = rows.expected
    finite = np.ones(len(rows.origins), dtype=np.bool_)
    for array in (*rows.arrays.values(), *expected.values()):
        if array.dtype.kind == "f":
            finite &= ~np.isinf(array).reshape(len(array), -1).any(axis=1)
    plain = np.array([origin.endswith(OF_THE_DATA) for origin in rows.origins])
    width = sum(array.size // len(array) for array in (*rows.arrays.values(), *expected.values()))
    most = max(min(GOLDEN_ROWS, GOLDEN_VALUES // max(width, 1)), 2) // 2
    hard = np.flatnonzero(finite & ~plain)
    chosen = np.concatenate([_spread(np.flatnonzero(finite & plain), most), _spread(hard, most)])
    types = {spec.name: DTYPES[spec.datatype] for spec in outputs}
    answers = {name: array[chosen].astype(types[name]) for name, array in expected.items()}
    return encode_golden(Golden(inputs=take(rows.arrays, chosen), outputs=answers))


def _spread(rows: np.ndarray[tuple[int], np.dtype[np.int64]], most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """So many of them at most, evenly."""
    count = min(len(rows), most)
    return rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)] if count else rows[:0]


def _score(original: Original, inputs: Specs, data: Arrays, graph: bytes, names: tuple[str, ...], place: Path) -> None:
    """Answers on all rows, by the engine that will give them; those that it refuses are left out."""
    part = take(data, slice(0, min(row_count(data), MAX_SCORED_ROWS)))
    session = open_graph(graph) if graph else None

    def ask(rows: Arrays) -> Arrays:
        return original.answer(inputs, rows) if session is None else run_graph(session, rows, names)

    found = answer_those(ask, part)
    texts = {name: array.astype(str) for name, array in found.answers.items() if array.dtype.kind == "O"}
    np.savez(place, allow_pickle=False, **{**found.answers, **texts, KEPT: found.kept})


def _modules(names: tuple[str, ...]) -> tuple[str, ...]:
    """Top-level packages that the file names, and that were imported for it."""
    found = {name.partition(".")[0] for name in names} & sys.modules.keys()
    return tuple(sorted(found - set(sys.stdlib_module_names)))
