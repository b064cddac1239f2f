"""Golden examples: rows with the answers the model gave where it was trained, and the check that they still hold.

What comes in: ``golden.json`` of a package, and the outputs of an engine on its inputs. What goes out: an
empty text, or the output and row that differ. Every target replays them before it may answer anybody.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from penstock.errors import Corrupt
from penstock.records import decode
from penstock.tensors import DTYPES, FLOATS, Array, Arrays, Signature, TensorSpec

GOLDEN = "golden.json"
TOLERANCE = 1e-5


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs and the answers expected on them.

    Attributes:
        inputs: Conformed arrays by input name.
        outputs: Arrays by output name.
        tolerance: Largest difference of a float, relative where the expected value is above 1.
    """

    inputs: Arrays
    outputs: Arrays
    tolerance: float = TOLERANCE

    @property
    def rows(self) -> int:
        """How many examples there are."""
        return len(next(iter(self.inputs.values()), ()))


class _Stored(msgspec.Struct, kw_only=True):
    """The form on disk: nested lists, null for NaN."""

    inputs: dict[str, list[object]]
    outputs: dict[str, list[object]]
    tolerance: float
    rows: int


def encode_golden(golden: Golden) -> bytes:
    """``golden.json``: nested lists by name; a missing number is null, infinities are not kept.

    Raises:
        ValueError: A float is infinite.
    """
    stored = _Stored(
        inputs={name: _listed(array) for name, array in golden.inputs.items()},
        outputs={name: _listed(array) for name, array in golden.outputs.items()},
        tolerance=golden.tolerance,
        rows=golden.rows,
    )
    return msgspec.json.encode(stored, order="deterministic")


def decode_golden(data: bytes, signature: Signature) -> Golden:
    """Examples in the signature's types and ranks.

    Raises:
        Corrupt: They do not fit the signature.
    """
    stored = decode(data, _Stored)
    return Golden(
        inputs={spec.name: _array(spec, stored.inputs.get(spec.name)) for spec in signature.inputs},
        outputs={spec.name: _array(spec, stored.outputs.get(spec.name)) for spec in signature.outputs},
        tolerance=stored.tolerance,
    )


def check_golden(golden: Golden, outputs: Mapping[str, Array]) -> str:
    """What differs from the expected answers, in words: output, row and by how much; empty if nothing does."""
    for name, expected in golden.outputs.items():
        given = outputs.get(name)
        if given is None:
            return f"output {name} is missing"
        if given.shape != expected.shape:
            return f"output {name} has shape {list(given.shape)}, expected {list(expected.shape)}"
        wrong = _differing(expected, given, golden.tolerance)
        if wrong.any():
            row = int(np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))[0])
            return f"output {name}, row {row}: not the expected answer{_distance(expected[row], given[row])}"
    return ""


def apart_by_row(left: Array, right: Array) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How far numbers lie apart, the furthest of each row: absolute below 1, relative above; NaN equals NaN."""
    wide, other = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(wide - other) / np.maximum(1.0, np.abs(wide))
    apart[np.isnan(wide) & np.isnan(other)] = 0.0
    apart[wide == other] = 0.0
    largest: np.ndarray[tuple[int], np.dtype[np.float64]] = apart.reshape(len(wide), -1).max(axis=1, initial=0.0)
    return np.nan_to_num(largest, nan=np.inf)


def _differing(expected: Array, given: Array, tolerance: float) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Where two arrays of one shape differ by more than the tolerance; NaN equals NaN."""
    if expected.dtype.kind == "f" and given.dtype.kind == "f":
        left, right = expected.astype(np.float64), given.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            far = ~(np.abs(left - right) <= tolerance * np.maximum(1.0, np.abs(left)))
        return far & ~(np.isnan(left) & np.isnan(right))
    if expected.dtype.kind == "f" or given.dtype.kind == "f" or expected.dtype.kind != given.dtype.kind:
        return np.ones(expected.shape, dtype=np.bool_)
    return np.asarray(expected != given, dtype=np.bool_)


def _distance(expected: Array | np.generic, given: Array | np.generic) -> str:
    """`` (off by 0.02)`` for numbers; nothing for text."""
    left, right = np.asarray(expected), np.asarray(given)
    if left.dtype.kind != "f" or right.dtype.kind != "f":
        return ""
    return f" (off by {float(np.max(np.abs(left.astype(np.float64) - right.astype(np.float64)))):.3g})"


def _listed(array: Array) -> list[object]:
    """Nested lists of plain values; narrow floats widen exactly."""
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise ValueError("an infinite value cannot be kept as an example")
    listed: list[object] = array.tolist()
    return listed


def _array(spec: TensorSpec, values: list[object] | None) -> Array:
    """Nested lists as the array their spec describes."""
    if values is None:
        name = spec.name if spec.name.isprintable() else "one of its tensors"
        raise Corrupt(f"golden.json has no values for {name}", "package the model again")
    try:
        if spec.datatype in FLOATS:
            array = np.array(values, dtype=np.float64).astype(DTYPES[spec.datatype])
        else:
            array = np.array(values, dtype=DTYPES[spec.datatype])
        fixed = [1 if size == -1 else size for size in spec.shape[1:]]
        return array if array.ndim == len(spec.shape) else array.reshape(len(values), *fixed)
    except (TypeError, ValueError, OverflowError) as error:
        raise Corrupt(f"golden.json does not fit the signature at {spec.name}", "package the model again") from error
