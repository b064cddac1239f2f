"""Stage 4, serve: what of a request is explained, and which number of the answer.

    signature --> Features: names, and rows mixed of one row and the background
    answer to the rows themselves, what was asked for --> Quantity: one number a row, from any answer

A feature is an input; or, where a model has one input of many values, each of these. Mixing swaps whole inputs or
values and makes up none, so text and missing values are mixed like numbers.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple, cast

import numpy as np

from penstock.errors import InvalidInput, PenstockError
from penstock.records import Manifest
from penstock.serve.protocol import Aim
from penstock.statistics.answers import canonical
from penstock.statistics.shapley import MOST_FEATURES, Booleans, Integers
from penstock.tensors import Array, Arrays, Floats, Signature

_USUAL = ("probabilities", "prediction")


class Features(NamedTuple):
    """What can be taken from a row or from the background.

    Attributes:
        names: Of the inputs, or of the values of the one there is.
        whole: They are inputs.
    """

    names: tuple[str, ...]
    whole: bool

    def mixed(self, row: Arrays, background: Arrays, own: Booleans, behind: Integers) -> Arrays:
        """One row for each mixture.

        Args:
            row: One row.
            background: Several.
            own: Which features come from the row, ``(mixtures, features)``.
            behind: The background row that has the others, ``(mixtures,)``.
        """
        arrays: Arrays = {}
        for place, (name, values) in enumerate(row.items()):
            shape = values.shape[1:]
            taken = own[:, place].reshape(-1, *[1] * len(shape)) if self.whole else own.reshape(-1, *shape)
            arrays[name] = np.where(taken, values, background[name][behind])
        return arrays


def features_of(signature: Signature) -> Features:
    """The features of a model's rows.

    Raises:
        PenstockError: Its rows have no fixed size, or more values than can be explained one by one: 501.
    """
    if any(spec.shape[:1] != (-1,) or -1 in spec.shape[1:] for spec in signature.inputs):
        raise _unexplained("the model's rows have no fixed size")
    first = signature.inputs[0]
    size = prod(first.shape[1:])
    whole = len(signature.inputs) > 1 or size == 1
    names = signature.input_names() if whole else first.columns or tuple(map(str, range(size)))
    if len(names) > MOST_FEATURES:
        raise _unexplained(f"the model has more than {MOST_FEATURES} features")
    return Features(names, whole)


class Quantity(NamedTuple):
    """The number that is explained, for each row that was asked for.

    Attributes:
        output: Name of an output.
        labels: A class or a place in the output, by row; empty where it has one value.
        places: The same as places; empty where the number is whether the label is answered.
    """

    output: str
    labels: tuple[str, ...]
    places: tuple[int, ...]

    def read(self, outputs: Arrays, row: int) -> Floats:
        """The number in each row of an answer, for one of the rows that were asked for."""
        array = outputs[self.output]
        if self.places:
            return array.reshape(len(array), -1)[:, self.places[row]].astype(np.float64)
        if self.labels:
            return np.array([canonical(value) == self.labels[row] for value in _listed(array)], np.float64)
        return array.reshape(len(array)).astype(np.float64)


def quantity_of(manifest: Manifest, outputs: Arrays, aim: Aim) -> Quantity:
    """What an explanation is about.

    Args:
        manifest: Names the classes.
        outputs: The answer to the rows themselves.
        aim: What was asked for.

    Raises:
        InvalidInput: There is no such output or class.
    """
    name = aim.output or next((one for one in _USUAL if one in outputs), "") or _first(outputs)
    if name not in outputs:
        known = ", ".join(outputs)
        raise InvalidInput("the model has no such output", f"its outputs are {known}", where="parameters.output")
    array, rows = outputs[name], len(next(iter(outputs.values())))
    size = prod(array.shape[1:])
    classes = [canonical(one) for one in manifest.classes]
    if name == "label" or array.dtype.kind == "O":
        if size != 1:
            raise _unexplained("the output holds several texts a row")
        answered = [canonical(value) for value in _listed(array)]
        wanted = _place(aim.label, classes or answered)
        return Quantity(name, tuple(answered) if wanted is None else ((classes or answered)[wanted],) * rows, ())
    if size == 1:
        if aim.label:
            raise InvalidInput("the output has one value and no classes", "leave it out", where="parameters.class")
        return Quantity(name, (), ())
    names = classes if len(classes) == size else [str(place) for place in range(size)]
    wanted = _place(aim.label, names)
    places = [wanted] * rows if wanted is not None else _answered(outputs, array, names)
    return Quantity(name, tuple(names[place] for place in places), tuple(places))


def _answered(outputs: Arrays, array: Array, names: list[str]) -> list[int]:
    """By row, the place of the label that was answered, or else of the largest value."""
    if "label" in outputs:
        answered = [canonical(value) for value in _listed(outputs["label"])]
        if set(answered) <= set(names):
            return [names.index(label) for label in answered]
    return cast("list[int]", array.reshape(len(array), -1).argmax(axis=1).tolist())


def _place(label: str, names: list[str]) -> int | None:
    """Where a label stands; None where none was asked for."""
    if not label:
        return None
    found = canonical(label)
    if found not in names:
        raise InvalidInput("the model has no such class", "its metadata list them", where="parameters.class")
    return names.index(found)


def _first(outputs: Arrays) -> str:
    """The first output of numbers with a fraction, or else the first."""
    return next((name for name, array in outputs.items() if array.dtype.kind == "f"), next(iter(outputs)))


def _listed(array: Array) -> list[str | int | float | bool]:
    return cast("list[str | int | float | bool]", array.reshape(-1).tolist())


def _unexplained(why: str) -> PenstockError:
    return PenstockError(why, "it cannot be explained here; use its predictions", code="serve.unsupported")
