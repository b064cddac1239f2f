"""Parity: does the compiled graph answer as the original did, value by value?

What comes in: the original, a graph, and rows: of the data, next to every kind of decision threshold, with
missing values, with categories never seen, far out of range. What goes out: a `Parity` that says how many rows
were compared, how far the answers lie apart, and which row showed a difference. A graph that differs is not used.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime

from penstock.build.format import Original, Specs
from penstock.build.schema import blank, row_count, stack, take
from penstock.packages.golden import TOLERANCE
from penstock.records import Parity
from penstock.tensors import Array, Arrays

UNSEEN = "never-seen-before"
BATCHES = (1, 2, 7)
MAX_DATA_ROWS = 1000


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared.

    Attributes:
        arrays: All rows.
        origins: What each row is, in words.
        threshold_rows: How many lie next to a threshold.
    """

    arrays: Arrays
    origins: tuple[str, ...]
    threshold_rows: int = 0


def rows_to_compare(original: Original, inputs: Specs, data: Arrays) -> Rows:
    """Rows of the data, and those made from them to be hard.

    Args:
        original: The model.
        inputs: Its inputs.
        data: Conformed rows.
    """
    count = min(row_count(data), MAX_DATA_ROWS)
    plain = take(data, np.linspace(0, row_count(data) - 1, count).astype(np.int64))
    parts, origins = [plain], [f"row {at} of the data" for at in range(count)]
    edges = original.edges(inputs, complete(plain))
    if edges is not None:
        parts.append(edges)
        origins += ["a row next to a decision threshold"] * row_count(edges)
    for made, what in _odd_rows(inputs, plain):
        parts.append(made)
        origins += [what] * row_count(made)
    return Rows(arrays=stack(parts), origins=tuple(origins), threshold_rows=0 if edges is None else row_count(edges))


def complete(rows: Arrays) -> Arrays:
    """Rows without a missing value; the first row, filled, where there is none."""
    whole = np.ones(row_count(rows), dtype=np.bool_)
    for array in rows.values():
        whole &= ~_missing(array).reshape(len(array), -1).any(axis=1)
    if whole.any():
        return take(rows, np.flatnonzero(whole))
    filled = take(rows, slice(0, 1))
    for array in filled.values():
        array[_missing(array)] = UNSEEN if array.dtype.kind == "O" else 0
    return filled


def compare(
    expected: Arrays, given: Arrays, origins: Sequence[str], *, threshold_rows: int = 0, tolerance: float = TOLERANCE
) -> Parity:
    """Two sets of answers to the same rows.

    Returns:
        Passed only if every label is equal and every number within `tolerance` (relative above 1).
    """
    flips, error, reason = 0, 0.0, ""
    for name, wanted in expected.items():
        answers = given.get(name)
        if answers is None or answers.shape != wanted.shape:
            reason = reason or f"the graph's {name} has another shape"
            error = float("inf")
            continue
        if wanted.dtype.kind == "f":
            apart = _apart(wanted, answers.astype(np.float64))
            error = max(error, float(apart.max(initial=0.0)))
            wrong: npt.NDArray[np.bool_] = apart > tolerance
        else:
            wrong = np.any(np.asarray(wanted != answers).reshape(len(wanted), -1), axis=1, keepdims=True)[:, 0]
            flips += int(wrong.sum())
        if wrong.any() and not reason:
            reason = f"{name} differs on {origins[int(np.flatnonzero(wrong)[0])]}"
    return Parity(
        rows=len(origins),
        threshold_rows=threshold_rows,
        label_flips=flips,
        max_error=min(error, 1e300),
        tolerance=tolerance,
        passed=not reason,
        reason=reason,
    )


def check_graph(graph: bytes, rows: Rows, expected: Arrays) -> Parity:
    """Run a graph on all rows, and on small batches of them, and hold it against what the original answered.

    Raises:
        Exception: ONNX Runtime does not take the graph.
    """
    session = _session(graph)
    given = run_graph(session, rows.arrays, tuple(expected))
    found = compare(expected, given, rows.origins, threshold_rows=rows.threshold_rows)
    if not found.passed:
        return found
    for size in BATCHES:
        part = slice(0, size)
        again = run_graph(session, take(rows.arrays, part), tuple(expected))
        alone = compare(take(given, part), again, rows.origins[part])
        if not alone.passed:
            reason = f"the graph answers a batch of {size} as it does not answer all rows: {alone.reason}"
            return msgspec.structs.replace(found, passed=False, reason=reason)
    return found


def run_session(graph: bytes, rows: Arrays, names: Sequence[str]) -> Arrays:
    """A graph's answers by name."""
    return run_graph(_session(graph), rows, names)


def run_graph(session: onnxruntime.InferenceSession, rows: Arrays, names: Sequence[str]) -> Arrays:
    """A session's answers by name."""
    return dict(zip(names, session.run(list(names), rows), strict=True))


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    """A quiet session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _odd_rows(inputs: Specs, rows: Arrays) -> list[tuple[Arrays, str]]:
    """Rows with one value missing, one category never seen, one number out of range or zero."""
    found: list[tuple[Arrays, str]] = []
    for spec in inputs:
        for column in range(spec.shape[-1]) if len(spec.shape) > 1 else ():
            place = spec.name if spec.shape[-1] == 1 else f"{spec.name}[{column}]"
            if spec.nullable:
                found.append((_with(rows, spec.name, column, [blank(spec)]), f"a row without {place}"))
            if spec.datatype == "BYTES":
                found.append((_with(rows, spec.name, column, [UNSEEN]), f"a row with an unseen {place}"))
            elif spec.datatype != "BOOL":
                far = _far(rows[spec.name][:, column])
                found.append((_with(rows, spec.name, column, far), f"a row with {place} out of range"))
    return found


def _with(rows: Arrays, name: str, column: int, values: Sequence[str | float]) -> Arrays:
    """The first rows again, each with another value in one place."""
    made = take(rows, np.arange(len(values)) % row_count(rows))
    array = made[name]
    array[:, column] = np.asarray(values, dtype=array.dtype)
    return made


def _far(values: Array) -> list[float]:
    """Numbers outside of what the data holds, zero, and one in the middle."""
    numbers = values.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return [0.0, 1.0]
    low, high = float(numbers.min()), float(numbers.max())
    span = max(high - low, 1.0)
    far = [low - 2 * span, high + 2 * span, 0.0, float(np.median(numbers))]
    if values.dtype.kind not in "iu":
        return far
    limits = np.iinfo(str(values.dtype))
    return [float(np.clip(one, limits.min // 2, limits.max // 2)) for one in far]


def _missing(array: Array) -> npt.NDArray[np.bool_]:
    """Where a value is missing."""
    if array.dtype.kind == "f":
        return np.isnan(array)
    return np.asarray(array == "") if array.dtype.kind == "O" else np.zeros(array.shape, dtype=np.bool_)


def _apart(left: Array, right: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far rows lie apart: absolute below 1, relative above; NaN equals NaN."""
    wide = left.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(wide - right) / np.maximum(1.0, np.abs(wide))
    apart[np.isnan(wide) & np.isnan(right)] = 0.0
    apart[wide == right] = 0.0
    largest: npt.NDArray[np.float64] = np.nan_to_num(apart.reshape(len(wide), -1), nan=np.inf).max(axis=1, initial=0.0)
    return largest
