"""Boosted trees of scikit-learn, walked by one call: for a few rows, most time goes into the way to each tree.

    loaded model -> join_trees -> the same objects; boosters in it ask one tree that is made of all of theirs

The joined tree has scikit-learn's own nodes behind a few that lead to a tree by its number, and scikit-learn's own
function walks it: a row is there once a tree, with the tree's number as one more column. What the leaves hold is added
in the order in which it was, so that answers are the same to the last bit. That is tried at load, with rows at the
trees' own thresholds; a booster that answers otherwise, or is of a version that is built otherwise, stays as it is.

Only a process that serves joins trees: what a package is proven against is the model as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeAlias, cast

import numpy as np

from penstock.tensors import Array

_BOOSTERS = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
_INNER = ("steps", "estimators_", "estimator_", "final_estimator_", "calibrated_classifiers_", "estimator")
"""Where scikit-learn's models keep the models that they ask."""
_DEEPEST = 3
"""How far they are looked for in what is not scikit-learn's: a class of somebody's own, what stands around it."""
_FEWEST = 4
_MOST_BYTES = 32 << 20
"""Of nodes: they are there a second time."""
_VALUES, _VALUES_A_TREE = 1 << 18, 1 << 11
"""Numbers that are copied for a request: beyond that the copies cost more than the ways to the trees."""
_TRIED = 64
_ODD = (0.0, -0.0, 1.0, 2.5, 254.0, -1.0, 1e308, -1e308, np.inf, -np.inf, np.nan)

_Nodes: TypeAlias = np.ndarray[tuple[int], np.dtype[np.void]]


class _Tree(Protocol):
    """A `TreePredictor` of scikit-learn."""

    nodes: _Nodes
    binned_left_cat_bitsets: Array
    raw_left_cat_bitsets: Array

    def predict(self, X: Array, known_cat_bitsets: Array, f_idx_map: Array, n_threads: int) -> Array:
        """The leaf of each row."""


_Grown: TypeAlias = list[list[_Tree]]


class _Binning(Protocol):
    """What scikit-learn's boosters know of categories."""

    def make_known_categories_bitsets(self) -> tuple[Array, Array]:
        """The known ones, and where each column's are."""


class _Booster(Protocol):
    """Those parts of scikit-learn's boosters that are asked here."""

    _predictors: _Grown
    _bin_mapper: _Binning
    _preprocessor: object
    n_features_in_: int
    n_trees_per_iteration_: int

    def _predict_iterations(
        self,
        X: Array,
        predictors: _Grown,
        raw_predictions: Array,
        is_binned: bool,
        n_threads: int,
    ) -> None: ...

    def _preprocess_X(self, X: object, *, reset: bool) -> object: ...


class JoinedTrees:
    """All trees of one booster as one.

    Raises:
        ValueError: It has too few or too many, or is built otherwise; AttributeError, TypeError, IndexError and
            KeyError say the same.
    """

    def __init__(self, booster: _Booster) -> None:
        trees = [tree for several in booster._predictors for tree in several]
        self._outputs = booster.n_trees_per_iteration_
        self._count = len(trees)
        self._width = booster.n_features_in_
        if self._count < _FEWEST or any(len(several) != self._outputs for several in booster._predictors):
            raise ValueError("too few trees, or not as many for each output")
        if sum(tree.nodes.nbytes for tree in trees) > _MOST_BYTES:
            raise ValueError("too many nodes")
        nodes, categories = _joined(trees, self._width)
        self._tree = type(trees[0])(nodes, trees[0].binned_left_cat_bitsets, categories)  # type: ignore[call-arg]
        self._known, self._places = booster._bin_mapper.make_known_categories_bitsets()
        self._numbers = np.arange(self._count, dtype=np.float64)[:, None]
        self._most = min(_VALUES // self._count, _VALUES_A_TREE) // (self._width + 1)

    def takes(self, rows: object) -> bool:
        """Whether these are few enough, as scikit-learn has prepared them."""
        if type(rows) is not np.ndarray or rows.dtype != np.float64 or rows.ndim != 2:
            return False
        return rows.shape[1] == self._width and len(rows) <= self._most

    def add(self, rows: Array, sums: Array) -> None:
        """Add each tree's leaves to ``sums`` (``(rows, outputs)``), in the trees' order."""
        asked = np.empty((self._count, len(rows), self._width + 1))
        asked[:, :, :-1] = rows
        asked[:, :, -1] = self._numbers
        leaves = self._tree.predict(asked.reshape(-1, self._width + 1), self._known, self._places, 1)
        added = np.empty((self._count // self._outputs + 1, self._outputs, len(rows)))
        added[0] = sums.T
        added[1:] = leaves.reshape(added[1:].shape)
        # One after the other: a plain sum may take them in any order.
        sums[...] = np.add.accumulate(added, axis=0)[-1].T


class _Shortcut:
    """Stands before a booster's own loop; what it does not take goes there as before."""

    def __init__(self, booster: _Booster, trees: JoinedTrees) -> None:
        self._booster = booster
        self._trees = trees
        self._grown = booster._predictors
        self._iterations = len(self._grown)

    def take(self) -> None:
        """Have the booster ask here first."""
        booster = self._booster
        matrix = booster._preprocessor is None and not hasattr(booster, "feature_names_in_")
        booster._predict_iterations = self.predict_iterations  # type: ignore[method-assign]
        if matrix:
            booster._preprocess_X = self.preprocess  # type: ignore[method-assign]

    def predict_iterations(
        self, X: Array, predictors: _Grown, raw_predictions: Array, is_binned: bool, n_threads: int
    ) -> None:
        """As scikit-learn's own."""
        if predictors is self._grown and len(predictors) == self._iterations and not is_binned and self._trees.takes(X):
            self._trees.add(X, raw_predictions)
            return
        booster = self._booster
        type(booster)._predict_iterations(booster, X, predictors, raw_predictions, is_binned, n_threads)

    def preprocess(self, X: object, *, reset: bool) -> object:
        """As scikit-learn's own; what is a matrix of the right width already needs no more than the right type."""
        booster = self._booster
        if (
            type(X) is np.ndarray
            and X.dtype.type in (np.float32, np.float64)
            and X.ndim == 2
            and len(X)
            and X.shape[1] == booster.n_features_in_
            and booster._predictors is self._grown
            and not reset
        ):
            return X.astype(np.float64, copy=False)
        return type(booster)._preprocess_X(booster, X, reset=reset)


def join_trees(model: object) -> int:
    """Have the boosters in a loaded model walk all their trees at once, where there are few rows.

    Args:
        model: Any; where scikit-learn's histogram boosters are in it, they answer as before.

    Returns:
        How many boosters do so now.
    """
    joined = 0
    for booster in _boosters(model):
        try:
            trees = JoinedTrees(booster)
            if not _same(booster, trees):
                continue
            _Shortcut(booster, trees).take()
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            continue  # another version's
        joined += 1
    return joined


def _boosters(model: object) -> Iterator[_Booster]:
    """Those that a model asks, each once."""
    seen: set[int] = set()
    waiting = [(model, 0)]
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, list | tuple):
            waiting += [(item, depth) for item in one]
            continue
        kind = type(one)
        held = getattr(one, "__dict__", None)
        if id(one) in seen or kind.__module__ == "builtins" or not isinstance(held, dict):
            continue
        seen.add(id(one))
        if not kind.__module__.startswith("sklearn."):
            waiting += [(item, depth + 1) for item in held.values() if depth < _DEEPEST and not isinstance(item, list)]
        elif kind.__name__ in _BOOSTERS:
            yield cast("_Booster", one)
        else:
            waiting += [(held[name], _DEEPEST) for name in _INNER if name in held]


def _joined(trees: list[_Tree], column: int) -> tuple[_Nodes, Array]:
    """The nodes of one tree that leads to all of these by what is in a column, and its bit sets of categories."""
    roots = np.cumsum([len(trees) - 1, *(len(tree.nodes) for tree in trees)]).tolist()
    sets = np.cumsum([0, *(len(tree.raw_left_cat_bitsets) for tree in trees)]).tolist()
    parts = [_ways(roots[:-1], column, trees[0].nodes.dtype)]
    for tree, root, first in zip(trees, roots, sets, strict=False):
        nodes = tree.nodes.copy()
        inner = nodes["is_leaf"] == 0
        nodes["left"][inner] += root
        nodes["right"][inner] += root
        nodes["bitset_idx"][nodes["is_categorical"] != 0] += first
        parts.append(nodes)
    return np.concatenate(parts), np.concatenate([tree.raw_left_cat_bitsets for tree in trees])


def _ways(roots: list[int], column: int, dtype: np.dtype[np.void]) -> _Nodes:
    """The nodes that halve the trees' numbers until one is left."""
    nodes = np.zeros(len(roots) - 1, dtype)
    nodes["feature_idx"] = column
    made = 0

    def halve(first: int, end: int) -> int:
        nonlocal made
        if end - first == 1:
            return roots[first]
        here, middle = made, (first + end) // 2
        made += 1
        nodes[here]["num_threshold"] = middle - 0.5
        nodes[here]["left"], nodes[here]["right"] = halve(first, middle), halve(middle, end)
        return here

    halve(0, len(roots))
    return nodes


def _same(booster: _Booster, trees: JoinedTrees) -> bool:
    """Whether both add the same to the last bit: for rows at thresholds and beside them, and for odd ones."""
    random = np.random.default_rng(0)
    nodes = np.concatenate([tree.nodes for several in booster._predictors for tree in several])
    nodes = nodes[nodes["is_leaf"] == 0]
    rows = random.choice(np.array(_ODD), (_TRIED, booster.n_features_in_))
    for feature in range(booster.n_features_in_):
        at = nodes["num_threshold"][nodes["feature_idx"] == feature]
        if len(at):
            near = random.choice(np.concatenate([at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf)]), _TRIED)
            rows[:, feature] = np.where(random.random(_TRIED) < 0.9, near, rows[:, feature])
    begun = random.normal(size=(_TRIED, booster.n_trees_per_iteration_))
    expected = begun.copy(order="F")
    booster._predict_iterations(rows, booster._predictors, expected, False, 1)
    for size in (1, 3):
        for at in range(0, _TRIED - size, size):
            part = rows[at : at + size]
            sums = begun[at : at + size].copy(order="F")
            trees.add(part, sums)
            if sums.tobytes() != expected[at : at + size].copy(order="F").tobytes():
                return False
    return True
