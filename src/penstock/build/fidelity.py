"""Does a model answer rows as requests carry them as it answers the data as it lies in its table?

What comes in: a model fitted on a DataFrame, its inputs, and rows of such a frame. What goes out: nothing, or a
refusal that names the columns which a request cannot carry without changing what they mean (True beside None, the
number 1 beside the text "1").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from msgspec.structs import replace

from penstock.build.parity import compare
from penstock.build.refusals import Answered, answer_those, in_words
from penstock.build.schema import can_be_missing, to_arrays
from penstock.errors import InvalidInput
from penstock.runtime.original import answer, answer_table
from penstock.tensors import Arrays, TensorSpec

ROWS = 64
_HINT = "turn columns of several kinds into numbers or text before the model is fitted"


def require_faithful(model: object, inputs: Sequence[TensorSpec], frame: pd.DataFrame) -> None:
    """Compare answers to the frame's first rows with those to the same rows as arrays.

    Raises:
        InvalidInput: They differ, or the arrays get none.
    """
    if hasattr(model, "answer_specs"):
        return  # it is in an environment of its own, where no table ever comes
    names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    if not names or not set(names) <= set(frame.columns):
        return
    rows = frame[names].head(ROWS)
    asked = _as_given(model, rows)
    if not len(asked.kept):
        return  # it answers no row at all, which is told elsewhere
    carried = tuple(replace(spec, nullable=can_be_missing(spec)) for spec in inputs)
    try:
        given = answer(model, carried, to_arrays(rows.iloc[asked.kept], inputs))
    except Exception as error:
        raise _refusal(rows, f"raises {in_words(error)}") from error
    found = compare(asked.answers, given, [f"row {at}" for at in asked.kept])
    if not found.passed and compare(asked.answers, _as_given(model, rows).answers, [""] * len(asked.kept)).passed:
        raise _refusal(rows, f"answers otherwise: {found.reason}")


def _as_given(model: object, rows: pd.DataFrame) -> Answered:
    """What the model says of the table's own rows; it may be chance, which is told elsewhere."""
    numbers: Arrays = {"row": np.arange(len(rows))}
    return answer_those(lambda part: answer_table(model, rows.iloc[part["row"].astype(np.int64)]), numbers)


def _refusal(rows: pd.DataFrame, what: str) -> InvalidInput:
    """What is wrong, and with which columns it may be."""
    kinds = {name: pd.api.types.infer_dtype(rows[name], skipna=True) for name in rows if rows[name].dtype == object}
    odd = [str(name) for name, kind in kinds.items() if kind != "string"]
    which = f"; look at {', '.join(odd[:8])}" if odd else ""
    return InvalidInput(
        f"asked for rows as requests carry them, the model {what}", _HINT + which, where="data", code="build.unfaithful"
    )
