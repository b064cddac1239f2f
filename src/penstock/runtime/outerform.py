"""How clients know a model's tensors, where that is not how the model itself knows them.

    penstock_outer.json -> `OuterForm`: names, types and sizes outside, sizes within, labels

What comes in: a file that was written beside the model when it was packaged. What goes out: what a tensor's sizes are
on the other side, whether a model is what is said of it, and the label that follows from an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeVar

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.tensors import FLOATS, Arrays

OUTER = "penstock_outer.json"
LABEL = "label"
Known = tuple[str, tuple[int, ...]]
"""Type and sizes of a tensor; -1 is any size."""
T = TypeVar("T")


class OuterTensor(msgspec.Struct, frozen=True, kw_only=True):
    """An input or an output.

    Attributes:
        name: As clients say it.
        datatype: The protocol's.
        shape: Its sizes for clients, the row's first; -1 is any size.
        within: Its sizes for the model.
        labels: Of its last dimension's numbers, by place; empty for none.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    within: tuple[int, ...]
    labels: tuple[str, ...] = ()


class OuterForm(msgspec.Struct, frozen=True, kw_only=True):
    """All of a model's tensors, each empty where the model's own are taken."""

    inputs: tuple[OuterTensor, ...] = ()
    outputs: tuple[OuterTensor, ...] = ()

    @property
    def judged(self) -> OuterTensor | None:
        """The output whose largest number chooses a label; None where no label can follow."""
        if any(one.name == LABEL for one in self.outputs):
            return None
        alike = (one for one in self.outputs if one.datatype in FLOATS and len(one.shape) == 2 and len(one.labels) > 1)
        return next((one for one in alike if len(set(one.labels)) == len(one.labels) == one.shape[1]), None)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, in the order of `judged`'s numbers."""
        return () if self.judged is None else self.judged.labels

    def with_label(self, answers: Arrays) -> Arrays:
        """Answers, and the label that follows from them; the first of equals."""
        if self.judged is None:
            return answers
        labels = np.array(self.judged.labels, dtype=object)
        return {**answers, LABEL: labels[answers[self.judged.name].argmax(axis=1)]}


def read_outer(data: str | bytes) -> OuterForm:
    """Of the file.

    Raises:
        InvalidInput: It is none.
    """
    try:
        return msgspec.json.decode(data, type=OuterForm)
    except msgspec.DecodeError as error:
        raise InvalidInput("what was said of the model's tensors cannot be read", where=OUTER) from error


def sizes_after(sizes: Sequence[T], before: Sequence[int], after: Sequence[int]) -> list[T | int]:
    """A tensor's sizes on the other side.

    Args:
        sizes: That it has; numbers, or what stands for them in a traced graph.
        before: What is said of them on this side: -1 where they are free.
        after: What is said of them on the other side.
    """
    free = iter([size for size, said in zip(sizes, before, strict=True) if said == -1])
    return [next(free) if said == -1 else said for said in after]


def require_fit(said: Sequence[OuterTensor], there: Mapping[str, Known]) -> None:
    """Refuse a model that is not what is said of it.

    Args:
        said: Inputs or outputs.
        there: The model's own, by name.

    Raises:
        InvalidInput: One is missing, or of another type or size.
    """
    for one in said:
        if one.name not in there:
            refuse(f"the model has no {one.name[:80]}")
        datatype, sizes = there[one.name]
        if datatype != one.datatype:
            refuse(f"{one.name[:80]} is {one.datatype} there and {datatype or 'of another type'} in the model")
        alike = all(-1 in pair or pair[0] == pair[1] for pair in zip(one.within, sizes, strict=False))
        if len(one.within) != len(sizes) or not alike:
            refuse(f"{one.name[:80]} has the sizes {list(one.within)} there and {list(sizes)} in the model")


def require_inputs(said: Sequence[OuterTensor], there: Mapping[str, Known]) -> None:
    """As `require_fit`, and none of the model's is left out.

    Raises:
        InvalidInput: They differ.
    """
    if said and {one.name for one in said} != set(there):
        refuse(f"the model's inputs are {', '.join(sorted(there))[:200]}")
    require_fit(said, there)


def refuse(what: str) -> NoReturn:
    """Refuse a model that is not what is said of it."""
    raise InvalidInput(
        f"the configuration is not of this model: {what}",
        "correct one of them",
        where="config.pbtxt",
        code="build.triton",
    )
