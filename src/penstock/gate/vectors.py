"""Vectors, such as a sentence encoder's, held against what is known of their rows (part of ``gate``).

    classes of the rows   -> the class whose mean vector lies nearest, of folds that have not seen the row
    numbers of the rows   -> a ridge regression on the vectors, in folds
    pairs and a likeness  -> the cosine of each pair

What comes in: vectors ``(rows, size)`` and labels. What goes out: `Answers`, so that vectors are judged by the metrics,
intervals and comparisons of every other model. A probe is no more than a probe: what it finds is there, what it does
not find may be there all the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstock.records import Manifest
from penstock.statistics.metrics import Answers, FloatArray, IntArray
from penstock.tensors import Array, Arrays

FOLDS = 5
MAX_CLASSES = 200
RIDGE = 1.0
"""Of vectors that are scaled to one unit of spread."""


def answers_vectors(manifest: Manifest) -> bool:
    """Whether each answer is a vector, which is no prediction of anything that has a truth."""
    if manifest.task == "classification":
        return False
    shapes = {spec.name: spec.shape for spec in manifest.signature.outputs}
    shape = shapes.get("prediction", ())
    return len(shape) == 2 and shape[1] != 1 and "label" not in shapes


def vectors_of(outputs: Arrays) -> FloatArray:
    """``(rows, size)``."""
    found = outputs["prediction"]
    return found.reshape(len(found), -1).astype(np.float64)


def cosines(left: FloatArray, right: FloatArray) -> FloatArray:
    """Of each pair of rows; 0 where one has no length."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    found: FloatArray = np.divide((left * right).sum(axis=1), lengths, out=np.zeros(len(left)), where=lengths > 0)
    return found


def distinct_share(inputs: Arrays, vectors: FloatArray) -> tuple[float, int]:
    """Which share of the different rows got vectors of their own, and how many rows are different.

    Texts that differ in spaces and capitals alone are one: tokenizers may see no difference.
    """
    keys = np.arange(len(vectors))
    if len(inputs) == 1:
        (rows,) = (array.reshape(len(array), -1) for array in inputs.values())
        if rows.dtype.kind == "O":
            rows = np.array([["".join(str(one).split()).casefold() for one in row] for row in rows.tolist()])
        keys = np.unique(rows, axis=0, return_index=True)[1]
    return len(np.unique(np.round(vectors[keys], 6), axis=0)) / len(keys), len(keys)


def probed(vectors: FloatArray, labels: Array, *, seed: int) -> Answers | None:
    """What the vectors say of their labels; None where the labels are neither classes nor numbers.

    Args:
        vectors: ``(rows, size)``.
        labels: ``(rows,)``: text and few whole numbers are classes.
        seed: Of the folds.
    """
    values = labels.reshape(-1)
    kinds = np.array([str(one) for one in values.tolist()]) if values.dtype.kind == "O" else values
    classes, codes = np.unique(kinds, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(vectors)) % FOLDS
    if 2 <= len(classes) <= min(MAX_CLASSES, len(vectors) // 2) and values.dtype.kind != "f":
        return _nearest(_of_one_length(vectors), codes.reshape(-1).astype(np.int64), fold, len(classes))
    if values.dtype.kind in "iuf" and len(classes) > 2:
        return Answers(truth=values.astype(np.float64), answer=_ridge(vectors, values.astype(np.float64), fold))
    return None


def likened(left: FloatArray, right: FloatArray, labels: Array, *, seed: int) -> Answers | None:
    """What the cosines of pairs say of how alike they were said to be; None where that is no number.

    Args:
        left: Vectors of the first texts.
        right: Of the second ones.
        labels: ``(pairs,)``: two values, the larger for alike, or any number that grows with likeness.
        seed: Of the folds.
    """
    if labels.dtype.kind == "O":
        return None
    said, found = labels.reshape(-1).astype(np.float64), cosines(left, right)
    levels = np.unique(said)
    if len(levels) == 2:
        truth = (said == levels[1]).astype(np.float64)
        scores = np.column_stack([-found, found])
        return Answers(truth=truth, answer=(found > np.median(found)).astype(np.float64), scores=scores, classes=2)
    fold = np.random.default_rng(seed).permutation(len(found)) % FOLDS
    return Answers(truth=said, answer=_ridge(found[:, None], said, fold))


def rank_correlation(left: FloatArray, right: FloatArray) -> float:
    """Spearman's, ties at their middle."""
    first, second = (_ranks(values) for values in (left, right))
    spread = float(first.std() * second.std())
    return float(((first - first.mean()) * (second - second.mean())).mean()) / spread if spread else 0.0


def _nearest(vectors: FloatArray, codes: IntArray, fold: npt.NDArray[np.int64], classes: int) -> Answers:
    """The class whose mean lies nearest, by cosine."""
    scores = np.zeros((len(vectors), classes))
    for part in range(FOLDS):
        known, asked = fold != part, fold == part
        sums = np.zeros((classes, vectors.shape[1]))
        np.add.at(sums, codes[known], vectors[known])
        found = vectors[asked] @ _of_one_length(sums).T
        scores[asked] = found - found.mean(axis=1, keepdims=True)
    answer = scores.argmax(axis=1).astype(np.float64)
    return Answers(truth=codes.astype(np.float64), answer=answer, scores=scores, classes=classes)


def _ridge(vectors: FloatArray, values: FloatArray, fold: npt.NDArray[np.int64]) -> FloatArray:
    """Each row's value by a regression on the rows of other folds."""
    answer = np.zeros(len(values))
    for part in range(FOLDS):
        known, asked = fold != part, fold == part
        middle, spread = vectors[known].mean(axis=0), vectors[known].std(axis=0)
        scaled = (vectors - middle) / np.where(spread > 0, spread, 1.0)
        level = values[known].mean()
        square = scaled[known].T @ scaled[known] + RIDGE * np.eye(vectors.shape[1])
        weights = np.linalg.solve(square, scaled[known].T @ (values[known] - level))
        answer[asked] = scaled[asked] @ weights + level
    return answer


def _of_one_length(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: FloatArray = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return found


def _ranks(values: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse.reshape(-1)]
