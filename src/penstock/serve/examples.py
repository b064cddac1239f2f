"""Stage 4, serve: examples as TensorFlow Serving's classify and regress take them, and their results.

    [{feature: [value, ...]}, ...] --by the signature's names--> arrays --> outputs --> classes with scores, or a number

An example is a row that names its features. What a model is comes from its outputs: it classifies where it answers
probabilities or a label, and regresses where it answers one number a row. Source: ``tf.train.Example``; TensorFlow
Serving's ``classification.proto`` and ``regression.proto``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import NamedTuple

import msgspec

from penstock.errors import InvalidInput
from penstock.serve.rowvalues import MOST_ROWS, Value, column, is_matrix, too_many_rows
from penstock.tensors import FLOATS, Array, Arrays, Signature, TensorSpec

MOST_VALUES = 1 << 24
"""Of all examples: what the context says of all is in the message once."""
Example = Mapping[str, Sequence[Value]]
_SCORES, _LABELS, _NUMBERS = ("probabilities", "scores"), ("label", "classes"), ("prediction", "outputs")


class ClassScore(msgspec.Struct, frozen=True, array_like=True):
    """A class and how likely it is; 0 where the model says only which."""

    label: str
    score: float


def read_examples(examples: Sequence[Example], signature: Signature, where: str) -> Arrays:
    """One array an input.

    Args:
        examples: Their features' values, each flat.
        signature: The model's.
        where: Path of the examples, for errors.

    Raises:
        InvalidInput: With the feature's path.
    """
    first = signature.inputs[0]
    if is_matrix(signature) and first.columns and not any(first.name in one for one in examples):
        examples = [_together(one, first, f"{where}[{i}]") for i, one in enumerate(examples)]
    names = signature.input_names()
    for i, example in enumerate(examples):
        for position, name in enumerate(example):
            if name not in names:
                raise InvalidInput(
                    "the example has a feature that the model does not know",
                    f"the model's inputs are {', '.join(names)}",
                    where=f"{where}[{i}][{position}]",
                )
    return {spec.name: _feature(examples, spec, where) for spec in signature.inputs}


def in_context(context: Example, examples: Iterable[Example], number: int, where: str) -> list[Example]:
    """Examples, each with what the context says of all.

    Args:
        context: What it does not say itself.
        examples: As they came; looked at when it is known that there are not too many.
        number: How many there are.
        where: Path of them, for errors.

    Raises:
        InvalidInput: They are too many.
    """
    if number > MOST_ROWS:
        raise too_many_rows(where)
    if number * len(context) > MOST_VALUES:
        raise _too_many_values(where)
    return [{**context, **one} for one in examples]


class Classes(NamedTuple):
    """Where a classifier's answer stands among its outputs.

    Attributes:
        scores: Output of a row of probabilities; empty where there is none.
        label: Output of the class; looked at where there are no scores.
    """

    scores: str
    label: str

    def results(self, outputs: Arrays, classes: Sequence[object]) -> list[list[ClassScore]]:
        """Each example's classes with their scores, in the order of the model's.

        Args:
            outputs: Of the model.
            classes: In the order of the probabilities; numbered where the model has told none.
        """
        if not self.scores:
            return [[ClassScore(str(value), 0.0)] for value in outputs[self.label].ravel().tolist()]
        table = outputs[self.scores]
        names = [str(one) for one in classes]
        if len(names) != table.shape[1]:
            names = [str(place) for place in range(table.shape[1])]
        return [[ClassScore(name, score) for name, score in zip(names, row, strict=True)] for row in table.tolist()]


class Numbers(NamedTuple):
    """Where a regression's answer stands: an output of one number a row."""

    output: str

    def results(self, outputs: Arrays) -> list[float]:
        """Each example's number."""
        numbers: list[float] = outputs[self.output].ravel().tolist()
        return numbers


def classes_of(signature: Signature, where: str) -> Classes:
    """Where a model answers classes.

    Raises:
        InvalidInput: It is no classifier.
    """
    tables = [spec for spec in signature.outputs if spec.datatype in FLOATS and len(spec.shape) == 2]
    scores = _found([spec for spec in tables if spec.shape[1] != 1], _SCORES)
    label = next((spec.name for spec in signature.outputs if spec.name in _LABELS and _is_column(spec)), "")
    if not scores and not label:
        raise InvalidInput("the model is no classifier", "use regress or predict", where=where)
    return Classes(scores, label)


def numbers_of(signature: Signature, where: str) -> Numbers:
    """Where a model answers a number.

    Raises:
        InvalidInput: It is no regression.
    """
    columns = [spec for spec in signature.outputs if spec.datatype in FLOATS and _is_column(spec)]
    output = _found(columns, _NUMBERS)
    if not output:
        raise InvalidInput("the model is no regression", "use classify or predict", where=where)
    return Numbers(output)


def _too_many_values(where: str) -> InvalidInput:
    return InvalidInput("the examples have too many values together", "send fewer at once", where=where)


def _together(example: Example, spec: TensorSpec, where: str) -> Example:
    """An example by the matrix's columns as one by its name."""
    values: list[Value] = []
    for name in spec.columns:
        found = example.get(name, ())
        if len(found) != 1:
            raise InvalidInput("the feature has not one value", "send every column once", where=f"{where}.{name}")
        values.append(found[0])
    unknown = {name: found for name, found in example.items() if name not in spec.columns}
    return {**unknown, spec.name: values}


def _feature(examples: Sequence[Example], spec: TensorSpec, where: str) -> Array:
    """A feature of all examples."""
    shape = _shape(examples, spec, where)
    size = prod(shape)
    if len(examples) * size > MOST_VALUES:
        raise _too_many_values(where)
    values: list[Value] = []

    def place(at: int) -> str:
        return f"{where}[{at // size}].{spec.name}"

    for i, example in enumerate(examples):
        given = example.get(spec.name)
        if given is None:
            if not spec.nullable:
                raise InvalidInput(
                    "the feature is missing", "send every input of the model", where=f"{where}[{i}].{spec.name}"
                )
            given = [None] * size
        if len(given) != size:
            raise InvalidInput(
                f"the feature has {len(given)} values and the model wants {size}", where=f"{where}[{i}].{spec.name}"
            )
        values += given
    return column(values, spec, place, where).reshape(len(examples), *shape)


def _shape(examples: Sequence[Example], spec: TensorSpec, where: str) -> tuple[int, ...]:
    """A feature's own dimensions; one may be free, and is then as long as the first example's values make it."""
    shape = spec.shape[1:]
    free = shape.count(-1)
    if not free:
        return shape
    if free > 1:
        raise InvalidInput(
            "an example is flat, and the input has several free dimensions", "use predict", where=f"{where}.{spec.name}"
        )
    fixed = prod(size for size in shape if size > 0)
    length = len(examples[0].get(spec.name, ())) // max(fixed, 1) if examples else 0
    return tuple(length if size == -1 else size for size in shape)


def _is_column(spec: TensorSpec) -> bool:
    return all(size == 1 for size in spec.shape[1:])


def _found(specs: Sequence[TensorSpec], names: tuple[str, ...]) -> str:
    """The one of a usual name, or else the only one; empty where there is neither."""
    named = next((spec.name for spec in specs if spec.name in names), "")
    return named or (specs[0].name if len(specs) == 1 else "")
