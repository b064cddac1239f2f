"""The answers to all rows that the sandbox left behind: taken as numbers and texts, or not at all.

    scores.npz -> a zip whose members are as long as they say -> arrays without objects -> one entry a row -> `Scores`

What comes in: bytes that the model's own code may have written. What goes out: arrays by name, and the rows' numbers.
"""

from __future__ import annotations

from io import BytesIO
from tokenize import TokenError
from typing import NamedTuple
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from penstock.build.examine import KEPT, Examined
from penstock.errors import Untrusted
from penstock.tensors import Arrays

_KINDS = "biufUS"


class Scores(NamedTuple):
    """Outputs by name, and which of the given rows they are of."""

    outputs: Arrays
    kept: npt.NDArray[np.int64]


def read_scores(data: bytes, rows: int, examined: Examined) -> Scores:
    """Read them.

    Args:
        data: ``scores.npz``.
        rows: How many there were.
        examined: Whether it tells classes.

    Raises:
        Untrusted: They are packed, hold objects, or are not one entry a row.
    """
    try:
        with ZipFile(BytesIO(data)) as archive:
            if any(one.compress_type != ZIP_STORED for one in archive.infolist()):
                raise _none()
        with np.load(BytesIO(data), allow_pickle=False) as stored:
            outputs: Arrays = {name: stored[name] for name in stored.files}
    except (
        BadZipFile,
        OSError,
        ValueError,
        KeyError,
        EOFError,
        MemoryError,
        RuntimeError,
        NotImplementedError,
        TokenError,
    ) as error:
        raise _none() from error
    texts = {spec.name for spec in examined.signature.outputs if spec.datatype == "BYTES"}
    kept = outputs.pop(KEPT, np.zeros(0))
    plain = all(array.ndim and len(array) == len(kept) and array.dtype.kind in _KINDS for array in outputs.values())
    if not plain or not outputs or kept.ndim != 1 or kept.dtype.kind not in "iu":
        raise _none()
    if not len(kept) or kept.min() < 0 or kept.max() >= rows or not _has_classes(outputs, examined):
        raise _none()
    if any((array.dtype.kind in "US") != (name in texts) for name, array in outputs.items()):
        raise _none()
    return Scores(outputs, kept.astype(np.int64))


def _has_classes(outputs: Arrays, examined: Examined) -> bool:
    """Whether a classifier's scores are one a class, or there are labels."""
    if not examined.classes:
        return True
    sure = outputs.get("probabilities", outputs.get("scores"))
    if sure is None:
        return "label" in outputs
    return sure.dtype.kind in "biuf" and sure.ndim == 2 and sure.shape[1] >= 2


def _none() -> Untrusted:
    return Untrusted(
        "what the sandbox left are no answers to the rows", "do not use the model: its code wrote them", code=CODE
    )


CODE = "build.bad_answer"
