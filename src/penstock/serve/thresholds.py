"""Stage 4, serve: a release's decision thresholds, applied to a binary classifier's label.

Comes in: outputs with ``label`` and ``probabilities``. Goes out: the same with the label decided by the threshold
of its class instead of by one half; probabilities stay as the model gave them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from penstock.errors import BadConfig
from penstock.records import Manifest
from penstock.tensors import Arrays


def decide(thresholds: Mapping[str, float], manifest: Manifest, outputs: Arrays) -> Arrays:
    """Outputs with the label of the class whose probability reaches its threshold, else of the other class.

    Args:
        thresholds: Class as text -> the least probability at which it is the answer.
        manifest: Names the classes, in the order of the probabilities.
        outputs: As the engine gave them.
    """
    if "label" not in outputs or "probabilities" not in outputs:
        return outputs
    column, least = _column(thresholds, manifest)
    reached = outputs["probabilities"][:, column] >= np.asarray(least)
    classes = manifest.classes
    labels = np.empty(len(reached), outputs["label"].dtype)
    labels[:] = np.where(reached, _as(classes[column], labels.dtype), _as(classes[1 - column], labels.dtype))
    return {**outputs, "label": labels}


def check(thresholds: Mapping[str, float], manifest: Manifest) -> None:
    """Refuse thresholds that the model cannot be held to, before any request is.

    Raises:
        BadConfig: It is no binary classifier, or has no such class.
    """
    if thresholds:
        _column(thresholds, manifest)


def _column(thresholds: Mapping[str, float], manifest: Manifest) -> tuple[int, float]:
    names = [str(name) for name in manifest.classes]
    if len(names) != 2:
        raise BadConfig("decision thresholds need a classifier of two classes", "leave them out", where="thresholds")
    for column in (1, 0):
        if names[column] in thresholds:
            return column, thresholds[names[column]]
    raise BadConfig("no threshold names a class of the model", f"its classes are {', '.join(names)}")


def _as(name: str | int | bool, dtype: np.dtype[np.generic]) -> str | int:
    return str(name) if dtype.kind == "O" else int(name)
