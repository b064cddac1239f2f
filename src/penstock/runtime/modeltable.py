"""A model's rows, made of a signature's inputs: a DataFrame for named columns, else the array itself.

Only a sandboxed process asks models: `penstock.runtime.original` does. pandas is imported by name where rows need it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

import numpy as np

from penstock.tensors import Array, TensorSpec


def table(model: object, specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> object:
    """The rows as the model was fitted on them: a DataFrame for named columns, else the array itself."""
    return ModelTable(model, specs).of(arrays)


class ModelTable:
    """How a model's rows are made of a signature's inputs."""

    def __init__(self, model: object, specs: Sequence[TensorSpec]) -> None:
        self._specs = specs
        self._names = [str(name) for name in getattr(model, "feature_names_in_", ())]
        self._matrix = len(specs) == 1 and not getattr(model, "by_column", False)
        self._categorical = _wants_categories(model)
        kinds = {spec.datatype for spec in specs}
        self._alike = len(kinds) == 1 and "BYTES" not in kinds

    def of(self, arrays: Mapping[str, Array]) -> object:
        """See `table`."""
        names = self._names
        if self._matrix:
            (spec,) = self._specs
            array = arrays[spec.name]
            if array.ndim == 1 or not names:
                return array
            if array.shape[1] == len(names) and spec.datatype != "BYTES" and (len(names) > 1 or names[0] != spec.name):
                return import_module("pandas").DataFrame(array, columns=names)
        pandas = import_module("pandas")
        if self._alike:
            # The block that pandas itself would make of these columns, without a look at each.
            block = np.stack([arrays[spec.name].reshape(-1) for spec in self._specs])
            return pandas.DataFrame(block.T, columns=[spec.name for spec in self._specs], copy=False)
        columns = {spec.name: _column(pandas, spec, arrays[spec.name], self._categorical) for spec in self._specs}
        return pandas.DataFrame(columns)


def _column(pandas: object, spec: TensorSpec, array: Array, categorical: bool) -> object:
    """One column: text without its missing values' empty strings, and as categories where the model learned such."""
    values = array.reshape(len(array))
    if spec.datatype != "BYTES":
        return values
    if spec.nullable:
        values = np.where(values == "", np.nan, values)
    series = pandas.Series(values, dtype=object)  # type: ignore[attr-defined]
    return series.astype("category") if categorical else series


def _wants_categories(model: object) -> bool:
    """Whether it took its text columns as pandas categories, directly or behind steps that passed them on."""
    steps = getattr(model, "steps", None)
    final = steps[-1][1] if steps else model
    lightgbm = getattr(getattr(final, "booster_", getattr(final, "booster", None)), "pandas_categorical", None)
    if lightgbm or bool(getattr(final, "enable_categorical", False)):
        return True
    by_type = getattr(final, "categorical_features", None) == "from_dtype"
    return by_type and getattr(final, "is_categorical_", None) is not None
