"""Which reshapes can be: the sizes that Triton's clients see, and those that the model sees.

    dims [2, 4, -1, 6]  reshape [8, -1, 1, 6]   can be: as many numbers between the free sizes
    dims [1]            reshape []              can be: one number a row, which the model has without its brackets

Source: Triton 2.73, ``docs/user_guide/model_configuration.md`` (Reshape) and ``model_config_utils.cc``.
"""

from __future__ import annotations

from collections.abc import Sequence


def fault_of(dims: Sequence[int], inner: Sequence[int], *, batched: bool) -> str:
    """Why a reshape cannot be, in words; empty where it can.

    Args:
        dims: What clients see, without the batch.
        inner: What the model sees, without the batch.
        batched: Whether a batch stands in front of both.
    """
    if any(size < -1 or size == 0 for size in inner):
        return "a size of it is none"
    if not inner and not batched:
        return "it has no size, and there is no batch: scalars are no tensors there"
    if not inner:
        return "" if all(size == 1 for size in dims) else "it has no size, and dims more than one number"
    if dims.count(-1) != inner.count(-1):
        return "it has more or fewer free sizes than dims"
    return "" if _between(dims) == _between(inner) else "it has another count of numbers than dims"


def _between(sizes: Sequence[int]) -> list[int]:
    """How many numbers there are before, between and behind the free sizes."""
    counts = [1]
    for size in sizes:
        if size == -1:
            counts.append(1)
        else:
            counts[-1] *= size
    return counts
