"""Round predicted numbers to so many digits; halves to the even one."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from penstock.runtime.transform import Classes, require_prediction
from penstock.tensors import Array, Arrays

MAX_DIGITS = 9


class RoundStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fewer digits.

    Attributes:
        digits: Behind the point.
    """

    bare: ClassVar[str] = "digits"
    digits: int

    def __post_init__(self) -> None:
        if not 0 <= self.digits <= MAX_DIGITS:
            raise ValueError(f"0 to {MAX_DIGITS} digits can stand behind the point")

    def learn(self, answers: Arrays, classes: Classes, truth: Array | None) -> RoundStep:
        """Itself: nothing is learned.

        Raises:
            InvalidInput: There is no prediction of fractions.
        """
        del classes, truth
        require_prediction(answers, "round")
        return self

    def apply(self, answers: Arrays) -> Arrays:
        """Another prediction, of the same type."""
        given, whole = answers["prediction"], 10.0**self.digits
        with np.errstate(over="ignore"):
            return {**answers, "prediction": (np.rint(given.astype(np.float64) * whole) / whole).astype(given.dtype)}

    def classes_after(self, classes: Classes) -> Classes:
        """The same: none."""
        return classes
