"""Stage 4, serve: one large tensor of floats in a JSON body, without a Python object a number.

Comes in: a body of the commonest form, ``{"inputs": [one tensor, flat], "id": ...}``. Goes out: its id and array, or
None for any other body, which the general reader takes or refuses. Loaded on the first large body only: simdjson
reads an image of 150,000 numbers in half the time that making them Python floats takes.
"""

from __future__ import annotations

from typing import cast

import csimdjson
import numpy as np

from penstock.errors import InvalidInput
from penstock.serve.tensordata import shaped
from penstock.tensors import DTYPES, Array, TensorSpec

_LISTS = 3
"""Opening brackets of a body with one flat tensor: inputs, shape, data."""


class LargeJson:
    """Reads large bodies of one float tensor."""

    @staticmethod
    def read(body: bytes, spec: TensorSpec) -> tuple[str, Array] | None:
        """The caller's id and the array of a model's one input.

        Args:
            body: As sent.
            spec: Of FP32 or FP64.
        """
        if body.count(b"[") != _LISTS:
            return None
        try:
            # A parser each: one cannot be used again while anything it gave is alive.
            return _tensor(csimdjson.Parser().parse(body), spec)
        # What simdjson raises, by what it found: not JSON, too deep, another type, a number out of range.
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError, OverflowError, MemoryError, InvalidInput):
            return None


def _tensor(document: object, spec: TensorSpec) -> tuple[str, Array] | None:
    keys = _keys(document)
    if keys not in (["id", "inputs"], ["inputs"]):
        return None
    found = cast("dict[str, object]", document)
    own_id = found["id"] if "id" in keys else ""
    tensor = cast("list[dict[str, object]]", found["inputs"])[0]
    if _keys(tensor) != ["data", "datatype", "name", "shape"] or not isinstance(own_id, str):
        return None
    shape = [int(size) for size in cast("list[int]", tensor["shape"]) if type(size) is int]
    if tensor["name"] != spec.name or tensor["datatype"] != spec.datatype or len(shape) != len(tensor["shape"]):  # type: ignore[arg-type]
        return None
    values = np.frombuffer(tensor["data"].as_buffer(of_type="d"), np.float64)  # type: ignore[attr-defined]
    return own_id, shaped(values.astype(DTYPES[spec.datatype]), shape, where="inputs[0]")


def _keys(found: object) -> list[str]:
    """An object's names; one given twice is there twice."""
    return sorted(found.keys()) if isinstance(found, csimdjson.Object) else []
