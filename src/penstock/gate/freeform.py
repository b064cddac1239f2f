"""Answers that no truth is known for: a handler's bodies, tensors under names of their own (part of ``gate``).

What comes in: a manifest, or such answers. What goes out: whether each row has an answer at all. Quality is not shown
for them, and findings say what would show it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from penstock.packages.handled import HANDLED
from penstock.records import Manifest
from penstock.statistics.metrics import FloatArray
from penstock.tensors import Array, Arrays

NO_BODIES = "Not shown: nobody gave a body to ask it with."
GIVE_BODIES = "Give some: --data FILE with a column body, a request a row, as text or as data:application/json,[1, 2]."


def answers_bodies(manifest: Manifest) -> bool:
    """Whether a whole request body goes in and one comes out, which the model's handler alone can read."""
    return manifest.signature == HANDLED


def is_freeform(manifest: Manifest) -> bool:
    """Whether its answers are neither a class, nor a number, nor a vector a row."""
    shapes = {spec.name: spec.shape for spec in manifest.signature.outputs}
    return "label" not in shapes and len(shapes.get("prediction", (1, 1, 1))) > 2


def freeform_fault(outputs: Arrays, rows: int) -> str:
    """What is wrong with such answers, in words; empty where each row has one, of finite numbers."""
    for name, array in outputs.items():
        if len(array) != rows:
            return f"{len(array)} {name} came back for {rows} rows"
        if array.dtype.kind == "f":
            bad = int((~np.isfinite(array.reshape(rows, -1))).any(axis=1).sum())
            if bad:
                return f"{bad} of {rows} {name} are not finite"
    return "" if outputs else "no output came back"


def numbers_of(outputs: Mapping[str, Array]) -> FloatArray:
    """All numbers of the answers, ``(rows, numbers)``."""
    rows = len(next(iter(outputs.values())))
    numbers = [array.reshape(rows, -1).astype(np.float64) for array in outputs.values() if array.dtype.kind in "fiub"]
    return np.concatenate(numbers, axis=1) if numbers else np.zeros((rows, 0))
