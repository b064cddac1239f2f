"""Which part each feature has in one answer: interventional Shapley values (part of ``statistics``; numpy only).

    features, background rows, budget --> Design: mixtures of the row and the background --ask the model--> answers
    answers on the mixtures, the background and the row itself --> values, their standard errors

What comes in: a model as anything that answers rows. What goes out: values that add up to the answer less the mean
answer on the background. A mixture takes some features from the row and the others, all of them, from one background
row: nothing is ever averaged or made up, so text and missing values are features like any other. With few features
every mixture is asked; with more, orders of the features are drawn, each with its reverse, equally many for each
background row. Sources: Strumbelj and Kononenko, Knowl. Inf. Syst. 41, 2014; Janzing, Minorics and Bloebaum, AISTATS
2020 (interventional); Mitchell, Cooper, Frank and Holmes, JMLR 23, 2022 (antithetic permutations).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import factorial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

EXACT_FEATURES = 8
"""Up to so many features every mixture is asked."""
MOST_MIXTURES = 4096
"""Mixtures asked for one row, at most."""
MOST_FEATURES = 1 + MOST_MIXTURES // 4
"""With more than that there would be one background row only."""
ENOUGH_ORDERS = 5
"""For a background row: with fewer, an order and its reverse count as independent when errors are told."""


class Attribution(NamedTuple):
    """Which part each feature has in one answer: ``base + values.sum()`` is the answer.

    Attributes:
        values: ``(features,)``.
        standard_errors: Of the values, by the drawing of orders alone, the background being what it is; 0 where
            nothing was drawn. Where a background row has few orders they mostly tell too much, seldom too little.
        base: Mean answer on the background.
    """

    values: Floats
    standard_errors: Floats
    base: float


class Design(NamedTuple):
    """What to ask a model for one row.

    Attributes:
        own: What a mixture takes from the row itself, ``(mixtures, features)``; the rest is the background's.
        behind: Which background row that is, ``(mixtures,)``.
        background_rows: How many of them are used, from the first on.
        orders: The orders drawn, ``(background rows, orders, features)``; None where every mixture is asked.
    """

    own: Booleans
    behind: Integers
    background_rows: int
    orders: Integers | None

    def attribute(self, background: Floats, mixtures: Floats, answer: float) -> Attribution:
        """The values, from what the model answered.

        Args:
            background: To the background rows in use, ``(background rows,)``.
            mixtures: To the mixtures, in their order, ``(mixtures,)``.
            answer: To the row itself.
        """
        rows, features = self.background_rows, self.own.shape[1] if self.own.size else 1
        base = float(background.mean())
        if self.orders is None:
            inner = mixtures.reshape(rows, -1)
            cube = np.column_stack([background, inner, np.full(rows, answer)]).mean(axis=0)
            return Attribution(_exact(cube, features), np.zeros(features), base)
        return Attribution(*_sampled(background, mixtures, answer, self.orders), base)


@lru_cache(maxsize=16)
def design(features: int, background_rows: int, *, most: int = MOST_MIXTURES, seed: int = 0) -> Design:
    """What to ask for a row of so many features.

    Args:
        features: From 1 to `MOST_FEATURES`.
        background_rows: Those there are; fewer are used where `most` does not reach for all.
        most: Mixtures, at most.
        seed: Equal seeds draw equal orders.

    Raises:
        ValueError: There are too many features, or no background.
    """
    if background_rows < 1 or features < 1 or 4 * (features - 1) > most:
        raise ValueError("too many features for so few mixtures, or no background")
    if features <= EXACT_FEATURES:
        inner = (1 << features) - 2
        rows = min(background_rows, most // max(inner, 1))
        codes = np.arange(1, inner + 1)
        own = (codes[:, None] >> np.arange(features)) & 1 == 1
        return Design(np.tile(own, (rows, 1)), np.repeat(np.arange(rows), inner), rows, None)
    steps = features - 1
    pairs = most // (2 * steps)
    rows = min(background_rows, pairs)
    each = pairs // rows
    generator = np.random.default_rng(seed)
    orders = generator.permuted(np.tile(np.arange(features), (rows, each, 1)), axis=2)
    ranks = np.argsort(orders, axis=2)
    taken = np.arange(1, features)[:, None]
    there = ranks[:, :, None, :] < taken
    back = features - 1 - ranks[:, :, None, :] < taken
    own = np.stack([there, back], axis=2).reshape(-1, features)
    return Design(own, np.repeat(np.arange(rows), each * 2 * steps), rows, orders)


def attribute(
    function: Callable[[Floats], Floats], row: Floats, background: Floats, *, most: int = MOST_MIXTURES, seed: int = 0
) -> Attribution:
    """The values of one row under a function of rows of numbers.

    Args:
        function: ``(rows, features)`` to ``(rows,)``.
        row: ``(features,)``.
        background: ``(background rows, features)``.
        most: Mixtures asked, at most.
        seed: Equal seeds draw equal orders.

    Example:
        >>> attribute(lambda x: 2 * x[:, 0] + x[:, 1], np.array([3.0, 1.0]), np.zeros((1, 2))).values.tolist()
        [6.0, 1.0]
    """
    plan = design(len(row), len(background), most=most, seed=seed)
    used = background[: plan.background_rows]
    mixed = np.where(plan.own, row, used[plan.behind])
    mixtures = function(mixed) if len(mixed) else np.empty(0)
    return plan.attribute(function(used), mixtures, float(function(row[None])[0]))


def _exact(cube: Floats, features: int) -> Floats:
    """Shapley's own sum over the answers to all mixtures, by which features (as bits) are the row's own."""
    codes = np.arange(len(cube))
    sizes = ((codes[:, None] >> np.arange(features)) & 1).sum(axis=1)
    weights = np.array([factorial(size) * factorial(features - size - 1) for size in range(features)], float)
    values = np.empty(features)
    for feature in range(features):
        without = codes[codes >> feature & 1 == 0]
        gains = cube[without | 1 << feature] - cube[without]
        values[feature] = (weights[sizes[without]] * gains).sum() / factorial(features)
    return values


def _sampled(background: Floats, mixtures: Floats, answer: float, orders: Integers) -> tuple[Floats, Floats]:
    """Mean gains along the orders and their reverses, and the standard errors of the means."""
    rows, each, features = orders.shape
    inner = mixtures.reshape(rows, each, 2, features - 1)
    first = np.broadcast_to(background[:, None, None, None], (rows, each, 2, 1))
    gains = np.diff(np.concatenate([first, inner, np.full((rows, each, 2, 1), answer)], axis=3), axis=3)
    parts = np.zeros((rows, each, 2, features))
    np.put_along_axis(parts[:, :, 0], orders, gains[:, :, 0], axis=2)
    np.put_along_axis(parts[:, :, 1], orders[:, :, ::-1], gains[:, :, 1], axis=2)
    draws = parts.mean(axis=2) if each >= ENOUGH_ORDERS else parts.reshape(rows, 2 * each, features)
    variances = draws.var(axis=1, ddof=1).sum(axis=0) / draws.shape[1]
    return parts.mean(axis=(0, 1, 2)), np.sqrt(variances) / rows
