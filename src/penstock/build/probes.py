"""Rows to compare on: of the data, and made from them to be hard.

What comes in: the original and conformed rows. What goes out: rows of the data, next to decision thresholds, with
missing values, with categories never seen, far out of range, together with what the original says of each. Rows
that it refuses itself are left out, and told: nothing can be compared with a refusal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.build.format import Original, Specs
from penstock.build.refusals import answer_those
from penstock.build.schema import blank, row_count, stack, take
from penstock.errors import ModelFailed
from penstock.tensors import Array, Arrays

UNSEEN = "never-seen-before"
MAX_DATA_ROWS = 1000
MAX_PROBED_COLUMNS = 200
EDGE = "values next to a decision threshold"
OF_THE_DATA = "of the data"


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared.

    Attributes:
        arrays: All rows that the original answers.
        expected: What it answers.
        origins: What each row is, in words.
        refused: What it refuses, in words: rows as `origins` tells them.
    """

    arrays: Arrays
    expected: Arrays
    origins: tuple[str, ...]
    refused: tuple[str, ...] = ()

    @property
    def threshold_rows(self) -> int:
        """How many lie next to a threshold."""
        return self.origins.count(EDGE)


def rows_to_compare(original: Original, inputs: Specs, data: Arrays) -> Rows:
    """Rows of the data, and those made from them to be hard.

    Args:
        original: The model.
        inputs: Its inputs.
        data: Conformed rows.

    Raises:
        ModelFailed: It answers none of the data's rows.
    """
    count = min(row_count(data), MAX_DATA_ROWS)
    places = np.linspace(0, row_count(data) - 1, count).astype(np.int64)
    plain = _asked(original, inputs, [(take(data, places), [f"row {at} {OF_THE_DATA}" for at in places])])
    parts: list[tuple[Arrays, Sequence[str]]] = []
    edges = original.edges(inputs, complete(plain.arrays))
    if edges is not None:
        parts.append((edges, [EDGE] * row_count(edges)))
    parts += [(made, [what] * row_count(made)) for made, what in _odd_rows(inputs, plain.arrays)]
    return _joined(plain, _asked(original, inputs, parts, needed=False)) if parts else plain


def answered_row(original: Original, inputs: Specs, data: Arrays) -> Arrays:
    """One complete row that the model answers; the first complete one where it answers none."""
    whole = take(complete(data), slice(0, MAX_DATA_ROWS))
    kept = answer_those(lambda rows: original.answer(inputs, rows), whole).kept[:1]
    return take(whole, kept if len(kept) else slice(0, 1))


def complete(rows: Arrays) -> Arrays:
    """Rows without a missing value; the first row, filled from other rows, where there is none."""
    whole = np.ones(row_count(rows), dtype=np.bool_)
    for array in rows.values():
        whole &= ~_missing(array).reshape(len(array), -1).any(axis=1)
    if whole.any():
        return take(rows, np.flatnonzero(whole))
    filled = take(rows, slice(0, 1))
    for name, array in filled.items():
        for column in np.flatnonzero(_missing(array)[0]):
            known = rows[name][:, column][~_missing(rows[name][:, column])]
            array[0, column] = known[0] if len(known) else UNSEEN if array.dtype.kind == "O" else 0
    return filled


def _asked(
    original: Original, inputs: Specs, parts: Sequence[tuple[Arrays, Sequence[str]]], *, needed: bool = True
) -> Rows:
    """Rows with the original's answers, without those that it refuses."""
    rows = stack([arrays for arrays, _ in parts])
    origins = [origin for _, origins in parts for origin in origins]
    found = answer_those(lambda some: original.answer(inputs, some), rows)
    if needed and not len(found.kept):
        raise ModelFailed(
            f"the model answers no row of the data ({found.why})",
            "give rows as it was fitted on with --data; was it fitted at all?",
            code="build.answers_nothing",
        )
    kept = set(found.kept.tolist())
    return Rows(
        arrays=take(rows, found.kept),
        expected=found.answers,
        origins=tuple(origins[at] for at in found.kept),
        refused=_told([origin for at, origin in enumerate(origins) if at not in kept], found.why),
    )


def _joined(plain: Rows, odd: Rows) -> Rows:
    """The data's rows and the hard ones."""
    refused = plain.refused + odd.refused
    if not odd.origins:
        return msgspec.structs.replace(plain, refused=refused)
    arrays, expected = stack([plain.arrays, odd.arrays]), stack([plain.expected, odd.expected])
    return Rows(arrays=arrays, expected=expected, origins=plain.origins + odd.origins, refused=refused)


def _told(origins: Sequence[str], why: str) -> tuple[str, ...]:
    """Refused rows in words; those of the data are counted."""
    of_data = sum(origin.endswith(OF_THE_DATA) for origin in origins)
    told = [f"the original refuses {of_data} rows {OF_THE_DATA} ({why})"] if of_data else []
    others = Counter(origin for origin in origins if not origin.endswith(OF_THE_DATA))
    return tuple(told + [f"the original refuses {origin}" for origin in others])


def _odd_rows(inputs: Specs, rows: Arrays) -> list[tuple[Arrays, str]]:
    """Rows with one value missing, one category never seen, one number out of range or zero."""
    found: list[tuple[Arrays, str]] = []
    for spec in inputs:
        # Of a matrix whose columns have no names, token ids say, the first stands for all.
        width = 1 if spec.shape[-1] > 1 and not spec.columns else spec.shape[-1]
        # Of a thousand columns, bytes of a file or words of a text, some stand for all.
        places = np.linspace(0, width - 1, min(width, MAX_PROBED_COLUMNS)).astype(int).tolist()
        for column in places if len(spec.shape) == 2 else ():
            place = spec.name if spec.shape[-1] == 1 else f"{spec.name}[{column}]"
            if spec.nullable:
                found.append((_with(rows, spec.name, column, [blank(spec)]), f"missing values in column {place}"))
            if spec.datatype == "BYTES":
                found.append((_with(rows, spec.name, column, [UNSEEN]), f"unseen categories in column {place}"))
            elif spec.datatype != "BOOL":
                far = _far(rows[spec.name][:, column])
                found.append((_with(rows, spec.name, column, far), f"values out of range in column {place}"))
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
