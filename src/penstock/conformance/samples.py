"""Values for a model's inputs: drawn from a seed, within the datatype, small enough that usual models take them.

Comes in: the model, and an example where somebody gave one. Goes out: arrays by input name. A model that takes only
certain values (an index, a category) needs the example: then every value is one of the example's.
"""

from __future__ import annotations

import numpy as np

from penstock.conformance.model import ModelUnderTest
from penstock.tensors import DTYPES, Array, Arrays, TensorSpec

WORDS = ("a", "blue", "two words", "0", "é–漢字", 'quoted "text"', "tab\tand\\", "x" * 40)
FREE_SIZE = 2
"""What a free dimension that does not stand for rows becomes."""


class Sampler:
    """Draws inputs.

    Args:
        model: Whose.
        example: Inputs that the model is known to take; empty where any will do.
        seed: The same seed draws the same.
    """

    def __init__(self, model: ModelUnderTest, example: Arrays, seed: int) -> None:
        self._model = model
        self._example = example
        self._seed = seed

    def plain(self, rows: int = 1) -> Arrays:
        """The plain request's inputs: always the same for as many rows."""
        return self.draw(np.random.default_rng([self._seed, rows]), rows)

    def draw(self, rng: np.random.Generator, rows: int) -> Arrays:
        """Inputs of `rows` rows; of a model without rows, of its own shapes."""
        return {spec.name: self._values(rng, spec, self._shape(spec, rows)) for spec in self._model.inputs}

    def _shape(self, spec: TensorSpec, rows: int) -> tuple[int, ...]:
        known = self._example.get(spec.name)
        free = known.shape if known is not None and known.ndim == len(spec.shape) else (FREE_SIZE,) * len(spec.shape)
        shape = [wide if size == -1 else size for size, wide in zip(spec.shape, free, strict=True)]
        if self._model.rows:
            shape[0] = rows
        return tuple(shape)

    def _values(self, rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
        known = self._example.get(spec.name)
        if known is not None and known.size:
            return rng.choice(known.ravel(), shape).astype(DTYPES[spec.datatype])
        return draw_values(rng, spec.datatype, shape)


def draw_values(rng: np.random.Generator, datatype: str, shape: tuple[int, ...]) -> Array:
    """Values of a datatype: floats of three digits around 0, whole numbers of one, short texts."""
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        found = np.empty(shape, object)
        found.ravel()[:] = [WORDS[index] for index in rng.integers(0, len(WORDS), found.size)]
        return found
    if datatype == "BOOL":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind == "f":
        return np.round(rng.normal(0, 2, shape), 3).astype(dtype)
    return rng.integers(0, 10, shape).astype(dtype)


def given_values(model: ModelUnderTest, sampler: Sampler, values: dict[str, list[object]]) -> Arrays:
    """One plain row with certain values in the inputs of certain datatypes, over and over where there are few."""
    arrays = sampler.plain()
    for spec in model.inputs:
        if spec.datatype in values:
            found = np.empty(arrays[spec.name].size, DTYPES[spec.datatype])
            found[:] = [values[spec.datatype][index % len(values[spec.datatype])] for index in range(found.size)]
            arrays[spec.name] = found.reshape(arrays[spec.name].shape)
    return arrays
