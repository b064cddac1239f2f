"""What a PyTorch model takes, where it does not say: told from rows, in the first types that it answers.

Comes in: a script or a module, and a table. Goes out: input specs. Of a program, which says so, rows are made up from
those that it was exported with, so that nobody has to give any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from penstock.build.refusals import in_words
from penstock.build.schema import to_arrays
from penstock.errors import InvalidInput, PenstockError
from penstock.runtime.torchmodel import TorchModel
from penstock.statistics.arraytables import array_columns, cells, holds_arrays, stacked
from penstock.tensors import Array, TensorSpec, datatype_of

Specs = tuple[TensorSpec, ...]
MADE_UP = 64
_ROWS = 4


def told_inputs(model: TorchModel, frame: pd.DataFrame) -> Specs:
    """Inputs that a script or a module answers.

    Raises:
        InvalidInput: The data have no column for one, or the model answers them in no type.
    """
    given = _given(model, frame)
    numbers = "FP64" if model.wide else "FP32"
    why = ""
    for as_type in _TYPES:
        specs = tuple(_spec(name, array, as_type(array, numbers), columns) for name, (array, columns) in given.items())
        try:
            model.answer_arrays(to_arrays(frame.head(_ROWS), specs))
        except PenstockError:
            raise
        except Exception as error:
            why = why or in_words(error)
            continue
        return specs
    raise InvalidInput(
        f"the model answers no row of the data ({why})",
        "give rows as it was trained on: one array an input, by the names of forward's parameters",
        where="data",
    )


def example_frame(model: TorchModel) -> pd.DataFrame | None:
    """Rows like those that a program was exported with: numbers moved about, whole numbers drawn from their own."""
    examples = getattr(model.program, "example_inputs", None)
    if not examples:
        return None
    given, named = examples
    flat: list[Any] = [one for one in [*_leaves(given), *_leaves(named)] if hasattr(one, "numpy")]
    if len(flat) != len(model.specs):
        return None
    random = np.random.default_rng(0)
    rows = {}
    for spec, one in zip(model.specs, flat, strict=True):
        array: Array = one.detach().cpu().numpy()
        again = array[np.arange(MADE_UP) % len(array)]
        if array.dtype.kind == "f":
            noise = random.standard_normal(again.shape) * (float(array.std()) or 1.0)
            noise[: len(array)] = 0
            made = again.astype(np.float64) + noise
        else:
            made = random.choice(array.reshape(-1), again.shape)
            made[: len(array)] = array[:MADE_UP]
        rows[spec.name] = made.astype(array.dtype)
    flat_rows = {name: array if array.ndim == 1 else cells(array) for name, array in rows.items()}
    return pd.DataFrame(flat_rows)


def _leaves(value: object) -> list[object]:
    """Tensors of nested inputs, in their order."""
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in _leaves(one)]
    if isinstance(value, list | tuple):
        return [leaf for one in value for leaf in _leaves(one)]
    return [value]


def _given(model: TorchModel, frame: pd.DataFrame) -> dict[str, tuple[Array, tuple[str, ...]]]:
    """Each input's first rows, and the columns that they are, where a matrix is a table."""
    deep = array_columns(frame)
    if len(model.needs) == 1 and model.needs[0] not in frame and not {*model.takes} & {*frame.columns}:
        if len(deep) == 1 == frame.shape[1]:
            return {model.needs[0]: (stacked(frame[deep[0]].head(_ROWS)), ())}
        if not deep:
            matrix = frame.head(_ROWS).to_numpy()
            if matrix.dtype.kind in "biuf":
                columns = tuple(map(str, frame.columns)) if matrix.dtype.kind == "f" else ()
                return {model.needs[0]: (matrix, columns)}
    names = [*model.needs, *(name for name in model.takes if name in frame)]
    lacking = [name for name in names if name not in frame]
    if lacking:
        raise InvalidInput(
            f"the data lacks {', '.join(lacking[:8])}",
            "give one column or array an input, by the names of forward's parameters, and name the label",
            where="data",
        )
    found: dict[str, tuple[Array, tuple[str, ...]]] = {}
    for name in names:
        column = frame[name].head(_ROWS)
        found[name] = (stacked(column) if holds_arrays(column) else column.to_numpy(), ())
    odd = [name for name, (array, _) in found.items() if array.dtype.kind not in "biuf"]
    if odd:
        raise InvalidInput(f"there is no number in {', '.join(odd[:8])}", "a tensor takes numbers", where="data")
    return found


def _as_they_are(array: Array, numbers: str) -> str:
    return numbers if array.dtype.kind == "f" else datatype_of(array.dtype)


def _whole(array: Array, numbers: str) -> str:
    return numbers if array.dtype.kind == "f" else "BOOL" if array.dtype.kind == "b" else "INT64"


def _all_numbers(array: Array, numbers: str) -> str:
    del array
    return numbers


_TYPES: tuple[Callable[[Array, str], str], ...] = (_as_they_are, _whole, _all_numbers)


def _spec(name: str, array: Array, datatype: str, columns: tuple[str, ...]) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=(-1, *array.shape[1:]), columns=columns)
