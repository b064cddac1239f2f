"""Two small models that every server of the conformance table serves: what goes in, what comes out, by numpy alone.

``numbers`` takes one matrix; ``columns`` takes a number, a text, a whole number and a truth, each an input of its own.
"""

from __future__ import annotations

import numpy as np

SPECS = {
    "numbers": (
        [("X", "FP32", [-1, 4])],
        [("label", "INT64", [-1, 1]), ("probabilities", "FP32", [-1, 2])],
    ),
    "columns": (
        [
            ("amount", "FP64", [-1, 1]), ("colour", "BYTES", [-1, 1]), ("count", "INT64", [-1, 1]),
            ("known", "BOOL", [-1, 1]),
        ],
        [("label", "BYTES", [-1, 1]), ("score", "FP64", [-1, 1])],
    ),
}  # fmt: skip
"""Inputs and outputs of each: name, datatype, shape."""
WEIGHTS = np.array([[0.1], [0.2], [0.3], [0.4]], np.float32)


def tensors(specs: list[tuple[str, str, list[int]]]) -> list[dict]:
    """As metadata say them."""
    return [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in specs]


def answer(model: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the model says; texts are objects of str."""
    if model == "numbers":
        one = 1 / (1 + np.exp(-(given["X"] @ WEIGHTS)))
        return {"label": (one > 0.5).astype(np.int64), "probabilities": np.concatenate([1 - one, one], axis=1)}
    score = given["amount"] * 0.5 + given["count"] + given["known"] * 0.25 + (given["colour"] == "blue") * 2.0
    return {"label": np.where(score > 3, "high", "low").astype(object), "score": score}
