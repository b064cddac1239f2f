"""From an engine's outputs to answers that metrics can judge (part of ``gate``).

What comes in: arrays by output name, as the conventions of packages have them (``label`` with ``probabilities`` or
``scores``; ``prediction``). What goes out: `Answers` with classes as codes, or words for what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from penstock.errors import InvalidInput, ModelFailed
from penstock.gate.freeform import freeform_fault, is_freeform, numbers_of
from penstock.records import Manifest
from penstock.runtime.engine import Engine
from penstock.statistics.metrics import Answers, FloatArray
from penstock.tensors import Array, Arrays

CHUNK_ROWS = 4096
_SUM_TOLERANCE = 1e-3


def answer(engine: Engine, inputs: Arrays) -> Arrays:
    """The engine's outputs on any number of rows, asked 4,096 at a time."""
    rows = len(next(iter(inputs.values())))
    parts = [
        engine.run({name: array[start : start + CHUNK_ROWS] for name, array in inputs.items()})
        for start in range(0, rows, CHUNK_ROWS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def fault(manifest: Manifest, outputs: Arrays, rows: int) -> str:
    """What is wrong with the answers, in words; empty where each row has a valid one."""
    if is_freeform(manifest):
        return freeform_fault(outputs, rows)
    if manifest.task == "regression":
        return _number_fault(outputs.get("prediction"), rows, "prediction")
    return _label_fault(manifest, outputs, rows)


def _label_fault(manifest: Manifest, outputs: Arrays, rows: int) -> str:
    if "label" not in outputs:
        return "the output label is missing"
    if len(outputs["label"]) != rows:
        return f"{len(outputs['label'])} labels came back for {rows} rows"
    strange = int((codes_of(manifest, outputs["label"]) < 0).sum())
    if strange:
        return f"{strange} of {rows} labels are none of the model's classes"
    if "probabilities" in outputs:
        return _probability_fault(outputs["probabilities"], rows)
    return _number_fault(outputs["scores"], rows, "scores") if "scores" in outputs else ""


def answers_of(manifest: Manifest, labels: Array, outputs: Arrays) -> Answers:
    """Answers beside the truth.

    Args:
        manifest: Task and classes.
        labels: ``(rows,)`` as the data have them.
        outputs: The engine's, on the same rows.

    Raises:
        InvalidInput: A label is missing, or is no class that the model knows.
        ModelFailed: The answers are not valid (`fault`).
    """
    wrong = fault(manifest, outputs, len(labels))
    if wrong:
        raise ModelFailed(f"the model's answers are not valid: {wrong}", code="gate.invalid_answers")
    if manifest.task == "regression":
        return Answers(truth=_numbers(labels), answer=_flat(outputs["prediction"]))
    truth = codes_of(manifest, labels)
    if (truth < 0).any():
        raise InvalidInput(
            f"{int((truth < 0).sum())} of {len(truth)} rows have a label that is none of the model's classes",
            f"the model knows {len(manifest.classes)} classes; check the label column",
            code="gate.labels",
        )
    scores = outputs.get("probabilities", outputs.get("scores"))
    return Answers(
        truth=truth.astype(np.float64),
        answer=codes_of(manifest, outputs["label"]).astype(np.float64),
        scores=None if scores is None else _matrix(scores),
        probable="probabilities" in outputs,
        classes=len(manifest.classes),
    )


def codes_of(manifest: Manifest, labels: Array) -> FloatArray:
    """Each label's place among the classes, ``(rows,)``; -1 where it is none of them."""
    known: dict[object, int] = {label: code for code, label in enumerate(manifest.classes)}
    # A file may hold classes as text where the model has numbers, and the reverse.
    # Or by the names that the model had for them before its package gave them others.
    before = manifest.transforms.classes if manifest.transforms is not None else ()
    known = {label: code for code, label in enumerate(before)} | known
    named = {str(label): code for names in (before, manifest.classes) for code, label in enumerate(names)}
    values, inverse = np.unique(_comparable(labels.reshape(-1)), return_inverse=True)
    codes = np.array([known.get(value, named.get(str(value), -1)) for value in values.tolist()], dtype=np.float64)
    return codes[inverse.reshape(-1)]


def scores_of(outputs: Mapping[str, Array]) -> FloatArray:
    """What moves when an answer moves, ``(rows, columns)``: probabilities, scores or predictions."""
    for name in ("probabilities", "scores", "prediction"):
        if name in outputs:
            return _matrix(outputs[name])
    return np.zeros((len(outputs["label"]), 0)) if "label" in outputs else numbers_of(outputs)


def _comparable(labels: Array) -> Array:
    """Labels that numpy can sort: text stays text, a missing one becomes empty text."""
    if labels.dtype.kind != "O":
        return labels
    return np.array([value if isinstance(value, str) else "" if value is None else str(value) for value in labels])


def _numbers(labels: Array) -> FloatArray:
    try:
        values = labels.reshape(-1).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput("the label column holds what is no number", "name another", code="gate.labels") from error
    if not np.isfinite(values).all():
        raise InvalidInput(
            f"{int((~np.isfinite(values)).sum())} of {len(values)} rows have no label",
            "leave them out of the file",
            code="gate.labels",
        )
    return values


def _flat(values: Array) -> FloatArray:
    return values.reshape(-1).astype(np.float64)


def _matrix(values: Array) -> FloatArray:
    return values.reshape(len(values), -1).astype(np.float64)


def _number_fault(values: Array | None, rows: int, name: str) -> str:
    if values is None:
        return f"the output {name} is missing"
    if len(values) != rows:
        return f"{len(values)} {name} came back for {rows} rows"
    bad = int((~np.isfinite(_matrix(values))).any(axis=1).sum())
    return f"{bad} of {rows} {name} are not finite" if bad else ""


def _probability_fault(values: Array, rows: int) -> str:
    wrong = _number_fault(values, rows, "probabilities")
    if wrong:
        return wrong
    table = _matrix(values)
    outside = int(((table < -_SUM_TOLERANCE) | (table > 1 + _SUM_TOLERANCE)).any(axis=1).sum())
    if outside:
        return f"{outside} of {rows} rows have a probability outside of 0 to 1"
    apart = int((np.abs(table.sum(axis=1) - 1) > _SUM_TOLERANCE).sum()) if table.shape[1] > 1 else 0
    return f"the probabilities of {apart} of {rows} rows do not add to 1" if apart else ""
