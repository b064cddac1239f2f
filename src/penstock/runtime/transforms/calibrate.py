"""Calibrate probabilities: what is said to happen three times in ten does, on rows that the model was not trained on.

    sigmoid:  1 / (1 + exp(-(slope * log-odds + offset)))                 Platt, 1999
    isotonic: the best non-decreasing curve, at each hundredth            Zadrozny and Elkan, KDD 2002

Of two classes the second has a curve; of more each has one, and what they say is divided by its sum. The label is then
the most probable class.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.runtime.transform import WHERE, Classes, label_codes, most_probable, require_probabilities
from penstock.statistics import calibration
from penstock.tensors import Array, Arrays, Floats

LEAST = 1e-4
"""Probabilities nearer to 0 or 1 count as this: a float cannot tell them apart well enough."""
STEPS = 100
MIN_ROWS = 30


class CalibrateStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Probabilities that come true.

    Attributes:
        method: ``sigmoid`` or ``isotonic``.
        part: From which part of the data it is learned.
        classes: As they are before it; learned.
        learned: Of each curve slope and offset, or its height at each hundredth.
    """

    bare: ClassVar[str] = "method"
    method: Literal["sigmoid", "isotonic"] = "sigmoid"
    part: Literal["validation", "test"] = msgspec.field(default="validation", name="from")
    classes: Classes = ()
    learned: tuple[tuple[float, ...], ...] = ()

    def learn(self, answers: Arrays, classes: Classes, truth: Array | None) -> CalibrateStep:
        """The curves.

        Raises:
            InvalidInput: There are no probabilities, no truth, too few rows, or none of some class.
        """
        chances = require_probabilities(answers, classes, "calibrate")
        if truth is None:
            raise _refusal("there is no truth to calibrate by", "say which column holds it with --label")
        codes = label_codes(classes, truth)
        if (codes < 0).any():
            raise _refusal(f"{int((codes < 0).sum())} rows have a label that is no class", "check the label column")
        counts = np.bincount(codes, minlength=len(classes))
        if len(codes) < MIN_ROWS or not counts.all():
            raise _refusal(
                f"{len(codes)} rows, {int((counts > 0).sum())} of {len(classes)} classes among them, are too few",
                f"give at least {MIN_ROWS} rows with some of each class, or leave the step out",
            )
        fit = _sigmoid_fit if self.method == "sigmoid" else _isotonic_fit
        columns = (1,) if len(classes) == 2 else range(len(classes))
        learned = tuple(fit(chances[:, at], (codes == at).astype(np.float64)) for at in columns)
        return msgspec.structs.replace(self, classes=classes, learned=learned)

    def apply(self, answers: Arrays) -> Arrays:
        """Probabilities as doubles, and the label of the most probable class."""
        given = answers["probabilities"].astype(np.float64)
        two = len(self.classes) == 2
        columns = [self._curve(curve, given[:, 1 if two else at]) for at, curve in enumerate(self.learned)]
        if two:
            chances = np.stack([1.0 - columns[0], columns[0]], axis=1)
        else:
            table = np.stack(columns, axis=1)
            whole = table.sum(axis=1, keepdims=True)
            chances = np.where(whole > 0, table / np.where(whole > 0, whole, 1.0), 1.0 / len(self.classes))
        return {**answers, "label": most_probable(self.classes, chances), "probabilities": chances}

    def classes_after(self, classes: Classes) -> Classes:
        """The same."""
        return classes

    def _curve(self, curve: tuple[float, ...], chances: Floats) -> Floats:
        """What comes true."""
        if self.method == "sigmoid":
            return _sigmoid(curve[0] * _log_odds(chances) + curve[1])
        heights: Floats = np.array(curve)
        at = np.clip(chances, 0.0, 1.0) * STEPS
        low = np.minimum(np.floor(at), STEPS - 1)
        place = low.astype(np.int64)
        found: Floats = heights[place] + (at - low) * (heights[place + 1] - heights[place])
        return found


def _log_odds(chances: Floats) -> Floats:
    held: Floats = np.clip(chances, LEAST, 1.0 - LEAST)
    return np.log(held) - np.log(1.0 - held)


def _sigmoid(values: Floats) -> Floats:
    with np.errstate(over="ignore"):
        found: Floats = 1.0 / (1.0 + np.exp(-values))
    return found


def _sigmoid_fit(chances: Floats, came: Floats) -> tuple[float, ...]:
    """Slope and offset of the largest likelihood, by Newton's steps; Platt's targets keep both finite."""
    yes = came.sum()
    target = np.where(came > 0, (yes + 1) / (yes + 2), 1 / (len(came) - yes + 2))
    table = np.stack([_log_odds(chances), np.ones(len(chances))], axis=1)
    found, loss = np.array([1.0, 0.0]), np.inf
    for _ in range(100):
        said = _sigmoid(table @ found)
        slope = table.T @ (target - said)
        bend = (table * (said * (1 - said))[:, None]).T @ table + 1e-9 * np.eye(2)
        step = np.linalg.solve(bend, slope)
        for _ in range(30):  # half the way while a whole step goes too far
            now = float(np.logaddexp(0, table @ (found + step)).sum() - target @ (table @ (found + step)))
            if now <= loss:
                break
            step = step / 2
        if loss - now < 1e-12 * max(abs(now), 1.0):
            break
        found, loss = found + step, now
    return float(max(found[0], 0.0)), float(found[1])


def _isotonic_fit(chances: Floats, came: Floats) -> tuple[float, ...]:
    """The height at each hundredth, where rows to the nearest hundredth are taken together."""
    curve = calibration.isotonic(np.rint(chances * STEPS) / STEPS, came)
    heights = calibration.apply(curve, np.arange(STEPS + 1) / STEPS)
    return tuple(np.clip(heights, 0.0, 1.0).tolist())


def _refusal(message: str, hint: str) -> InvalidInput:
    return InvalidInput(message, hint, where=f"{WHERE}.calibrate")
