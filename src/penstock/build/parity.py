"""Parity: does the compiled graph answer as the original did, value by value?

What comes in: a graph, and `penstock.build.probes`' rows with the original's answers. What goes out: a `Parity` that
says how many rows were compared, how far the answers lie apart, and which row showed a difference. A graph that
differs is not used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime

from penstock.build.graphs.mapped import let_go
from penstock.build.probes import Rows
from penstock.build.refusals import Ask, answer_those
from penstock.build.schema import take
from penstock.packages.golden import TOLERANCE, apart_by_row
from penstock.packages.manifest import is_numbers
from penstock.records import Parity
from penstock.runtime.graphfile import FOLDER_OF_NUMBERS
from penstock.runtime.textfront import Run, open_front
from penstock.tensors import Arrays

BATCHES = (1, 2, 7)


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
            apart = apart_by_row(wanted, answers)
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


def check_graph(graph: bytes, rows: Rows) -> Parity:
    """Run a graph on all rows, and on small batches of them, and hold it against what the original answered.

    Raises:
        Exception: ONNX Runtime does not take the graph.
    """
    session, names = open_graph(graph), tuple(rows.expected)
    # All at once may take more memory than there is: the original was asked in halves then, and so is the graph.
    asked = answer_those(lambda part: run_graph(session, part, names), rows.arrays)
    if not len(asked.kept):
        run_graph(session, take(rows.arrays, slice(0, 1)), names)  # it answers nothing: let it say so itself
    if len(asked.kept) < len(rows.origins):
        first = min(set(range(len(rows.origins))).difference(asked.kept.tolist()))
        return _refused(rows, f"the graph refuses {rows.origins[first]}: {asked.why}")
    given = asked.answers
    found = compare(rows.expected, given, rows.origins, threshold_rows=rows.threshold_rows)
    if not found.passed:
        return found
    reason = unsteady(lambda part: run_graph(session, part, names), rows.arrays, given)
    return msgspec.structs.replace(found, passed=not reason, reason=reason and f"the graph {reason}")


def _refused(rows: Rows, reason: str) -> Parity:
    """A graph that raises where the original answers."""
    return Parity(
        rows=len(rows.origins),
        threshold_rows=rows.threshold_rows,
        label_flips=0,
        max_error=1e300,
        tolerance=TOLERANCE,
        passed=False,
        reason=reason,
    )


def unsteady(ask: Ask, rows: Arrays, answers: Arrays) -> str:
    """How small batches are answered otherwise than the same rows among all others; empty where they are not."""
    for size in BATCHES:
        part = slice(0, size)
        origins = [f"row {at}" for at in range(size)]
        alone = compare(take(answers, part), ask(take(rows, part)), origins)
        if not alone.passed:
            return f"answers a batch of {size} as it does not answer all rows: {alone.reason}"
    return ""


def run_session(graph: bytes, rows: Arrays, names: Sequence[str]) -> Arrays:
    """A graph's answers by name."""
    return run_graph(open_graph(graph), rows, names)


def run_graph(session: onnxruntime.InferenceSession, rows: Arrays, names: Sequence[str]) -> Arrays:
    """A session's answers by name; texts go through the tokenizer that its metadata describe."""
    front = open_front(session.get_modelmeta().custom_metadata_map)
    run: Run = session.run if front is None else front.before(session.run)
    with let_go():
        return dict(zip(names, run(list(names), rows, None), strict=True))


def open_graph(graph: bytes) -> onnxruntime.InferenceSession:
    """A quiet session on one thread; loading a large graph takes its size again, so whoever asks often keeps it.

    Numbers that were set apart lie in the working folder, and are mapped from there, not copied and packed anew.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if any(is_numbers(name) for name in os.listdir()):
        options.add_session_config_entry(FOLDER_OF_NUMBERS, str(Path.cwd()))
        options.add_session_config_entry("session.disable_prepacking", "1")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
