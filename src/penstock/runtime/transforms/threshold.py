"""Decide for a class from a probability on that is not one half."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from penstock.runtime.transform import (
    MILLION,
    Classes,
    class_place,
    label_array,
    millionths,
    require_probabilities,
)
from penstock.tensors import Array, Arrays


class ThresholdStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The label is this class where its probability reaches the threshold, else the most probable other one.

    Attributes:
        name: The class.
        at: The least probability; it and what it is held against count to the sixth digit.
        learned: The classes as they are before it.
    """

    bare: ClassVar[str] = ""
    name: str = msgspec.field(name="class")
    at: float
    learned: Classes = ()

    def __post_init__(self) -> None:
        if not 0 <= self.at <= 1:
            raise ValueError("a threshold is a probability, from 0 to 1")

    @property
    def place(self) -> int:
        """The class's among the classes."""
        return [str(one) for one in self.learned].index(self.name)

    def learn(self, answers: Arrays, classes: Classes, truth: Array | None) -> ThresholdStep:
        """Which classes there are.

        Raises:
            InvalidInput: There are no probabilities, or no such class.
        """
        del truth
        require_probabilities(answers, classes, "threshold")
        class_place(classes, self.name, "threshold")
        return msgspec.structs.replace(self, learned=classes)

    def apply(self, answers: Arrays) -> Arrays:
        """Another label; probabilities stay."""
        ranked = millionths(answers["probabilities"])
        reached = ranked[:, self.place] >= np.rint(self.at * MILLION)
        ranked[:, self.place] = -1.0
        codes = np.where(reached, self.place, ranked.argmax(axis=1))
        return {**answers, "label": label_array(self.learned)[codes]}

    def classes_after(self, classes: Classes) -> Classes:
        """The same."""
        return classes
