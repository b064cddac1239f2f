"""Hold predicted numbers to a range."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from penstock.runtime.transform import Classes, require_prediction
from penstock.tensors import Array, Arrays


class ClipStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A prediction below or above is the end of the range.

    Attributes:
        low: The least.
        high: The largest.
    """

    bare: ClassVar[str] = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")

    def learn(self, answers: Arrays, classes: Classes, truth: Array | None) -> ClipStep:
        """Itself: nothing is learned.

        Raises:
            InvalidInput: There is no prediction of fractions.
        """
        del classes, truth
        require_prediction(answers, "clip")
        return self

    def apply(self, answers: Arrays) -> Arrays:
        """Another prediction, of the same type."""
        given = answers["prediction"]
        held = given.astype(np.float64)
        if self.low is not None:
            held = np.where(held < self.low, self.low, held)
        if self.high is not None:
            held = np.where(held > self.high, self.high, held)
        return {**answers, "prediction": held.astype(given.dtype)}

    def classes_after(self, classes: Classes) -> Classes:
        """The same: none."""
        return classes
