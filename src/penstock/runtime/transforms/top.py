"""The best labels of each row, with their probabilities."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.runtime.transform import WHERE, Classes, label_array, millionths, require_probabilities
from penstock.tensors import Array, Arrays

LABELS = "top_labels"
PROBABILITIES = "top_probabilities"


class TopStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Two more outputs, ``top_labels`` and ``top_probabilities``, the most probable first.

    Attributes:
        best: How many.
        learned: The classes as they are before it.
    """

    bare: ClassVar[str] = "best"
    best: int
    learned: Classes = ()

    def learn(self, answers: Arrays, classes: Classes, truth: Array | None) -> TopStep:
        """Which classes there are.

        Raises:
            InvalidInput: There are no probabilities, or fewer classes.
        """
        del truth
        require_probabilities(answers, classes, "top")
        if not 1 <= self.best <= len(classes):
            raise InvalidInput(
                f"there are {len(classes)} classes, and not {self.best} best of them",
                f"ask for 1 to {len(classes)}",
                where=f"{WHERE}.top",
            )
        return msgspec.structs.replace(self, learned=classes)

    def apply(self, answers: Arrays) -> Arrays:
        """Equal ones to the sixth digit stand in the order of the classes."""
        chances = answers["probabilities"]
        order = np.argsort(-millionths(chances), axis=1, kind="stable")[:, : self.best]
        best = np.take_along_axis(chances, order, axis=1).astype(np.float32)
        return {**answers, LABELS: label_array(self.learned)[order], PROBABILITIES: best}

    def classes_after(self, classes: Classes) -> Classes:
        """The same."""
        return classes
