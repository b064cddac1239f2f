"""Tree ensembles inside of graphs, made smaller: questions that need not be asked, trees that change little.

    Ensemble -> simplified, narrowed -> as it answered        -> thinned -> nearly so

What comes in: an `Ensemble`, from `penstock.build.graphs.ensemble_nodes`. What goes out: one with fewer nodes or trees.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

MODES = {"BRANCH_LEQ": 0, "BRANCH_LT": 1}
"""When a row goes left, and the number that stands for it in the newer operator."""

Floats = npt.NDArray[np.float64]


class Split(NamedTuple):
    """A node that asks; `left` and `right` are places in its tree."""

    feature: int
    threshold: float
    left: int
    right: int
    missing_left: bool


class Leaf(NamedTuple):
    """A node that answers: what it adds to which sum; in a forest with a table, which row of it."""

    target: int
    weight: float


Tree = tuple[Split | Leaf, ...]
"""Nodes; the first is the root."""


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """Trees whose leaves are summed: boosted ones, or votes, which say of each class how likely it is.

    Attributes:
        trees: Each with its root first.
        mode: A key of `MODES`.
        outputs: Sums a row.
        base: Added to each sum.
        scale: The sums are multiplied by it.
        table: What leaves add to the sums where they add to several, a row each; empty where they add to one.
        whole: Of two answers that always add to this only the second is summed; None where all are.
        votes: The trees' answers are averaged, so that fewer of them make the same sum.
    """

    trees: tuple[Tree, ...]
    mode: str
    outputs: int
    base: tuple[float, ...]
    scale: float = 1.0
    table: tuple[tuple[float, ...], ...] = ()
    whole: float | None = None
    votes: bool = False


def simplified(ensemble: Ensemble) -> Ensemble:
    """Without what changes nothing: questions whose answer is known or does not matter, trees that always say one."""
    base = np.array(ensemble.base)
    trees: list[Tree] = []
    for tree in ensemble.trees:
        nodes = _simple(tree)
        first = nodes[0]
        if not isinstance(first, Leaf):
            trees.append(nodes)
        elif ensemble.table:
            base += ensemble.table[int(first.weight)]
        else:
            base[first.target] += first.weight
    return msgspec.structs.replace(ensemble, trees=tuple(trees), base=tuple(base.tolist()))


class _Known(NamedTuple):
    """What is known of a feature below some questions: its range, and whether it may be missing."""

    low: float = -np.inf
    high: float = np.inf
    missing: bool = True


def _simple(tree: Tree) -> Tree:
    """One tree without the questions that need not be asked."""
    nodes: list[Split | Leaf] = []

    def put(at: int, known: dict[int, _Known]) -> int:
        node = tree[at]
        if isinstance(node, Leaf):
            nodes.append(node)
            return len(nodes) - 1
        seen = known.get(node.feature, _Known())
        sent = _sent(node, seen)
        if sent is not None:
            return put(node.left if sent else node.right, known)
        here = len(nodes)
        nodes.append(node)
        below = seen._replace(high=min(seen.high, node.threshold), missing=seen.missing and node.missing_left)
        above = seen._replace(low=max(seen.low, node.threshold), missing=seen.missing and not node.missing_left)
        left = put(node.left, {**known, node.feature: below})
        right = put(node.right, {**known, node.feature: above})
        if isinstance(nodes[left], Leaf) and nodes[left] == nodes[right]:
            same = nodes[left]
            del nodes[here:]
            nodes.append(same)
        else:
            nodes[here] = node._replace(left=left, right=right)
        return here

    put(0, {})
    return tuple(nodes)


def _sent(node: Split, seen: _Known) -> bool | None:
    """Whether all rows that get here go left, or right; None where that hangs on the row."""
    # Above a threshold t lies x > t where rows go left at x <= t, and x >= t where they do at x < t.
    left = seen.high <= node.threshold
    right = seen.low >= node.threshold
    if left and (node.missing_left or not seen.missing):
        return True
    if right and (not node.missing_left or not seen.missing):
        return False
    return None


def narrowed(ensemble: Ensemble) -> Ensemble:
    """With thresholds and leaves that floats can hold; rows that are floats themselves go as they went."""
    toward = -np.inf if ensemble.mode == "BRANCH_LEQ" else np.inf

    def narrow(node: Split | Leaf) -> Split | Leaf:
        if isinstance(node, Leaf):
            return node._replace(weight=float(np.float32(node.weight)))
        near = np.float32(node.threshold)
        if (float(near) > node.threshold) if toward < 0 else (float(near) < node.threshold):
            near = np.nextafter(near, np.float32(toward))
        return node._replace(threshold=float(near))

    trees = tuple(tuple(narrow(node) for node in tree) for tree in ensemble.trees)
    return msgspec.structs.replace(ensemble, trees=trees)


def parted(ensemble: Ensemble) -> Ensemble:
    """A forest with a table as one without: each tree once for each of its sums."""
    trees = tuple(
        tuple(
            node if isinstance(node, Split) else Leaf(target, ensemble.table[int(node.weight)][target]) for node in tree
        )
        for tree in ensemble.trees
        for target in range(ensemble.outputs)
    )
    return msgspec.structs.replace(ensemble, trees=trees, table=())


# -- fewer trees ---------------------------------------------------------------------------------


def thinned(ensemble: Ensemble, said: Floats, share: float) -> Ensemble:
    """A share of the trees, those that spread most; the rest make up for the others.

    Votes are averaged over fewer. Of sums, each is stretched and moved to where all the trees had it.

    Args:
        ensemble: Whole.
        said: What each tree adds to each sum for each row, ``(trees, rows, outputs)``.
        share: Of the trees that are kept, 0 to 1.
    """
    count = max(1, round(share * len(ensemble.trees)))
    spreads = said.std(axis=1).sum(axis=1)
    kept = np.sort(np.argsort(-spreads, kind="stable")[:count])
    fewer = msgspec.structs.replace(ensemble, trees=tuple(ensemble.trees[at] for at in kept))
    if ensemble.votes:
        # What trees that always say one had said weighs as much among the fewer.
        part = count / len(ensemble.trees)
        base = tuple(part * number for number in ensemble.base)
        return msgspec.structs.replace(fewer, scale=ensemble.scale / part, base=base)
    return _fitted(fewer, said[kept].sum(axis=0), said.sum(axis=0))


def _fitted(ensemble: Ensemble, sums: Floats, wanted: Floats) -> Ensemble:
    """With each sum stretched and moved so that it lies nearest to what is wanted; of a table nothing is changed."""
    if ensemble.table:
        return ensemble
    centre, spread = sums.mean(axis=0), sums.var(axis=0)
    both = ((sums - centre) * (wanted - wanted.mean(axis=0))).mean(axis=0)
    stretch = np.where(spread > 0, both / np.where(spread > 0, spread, 1.0), 1.0)
    base = np.array(ensemble.base) + wanted.mean(axis=0) - stretch * centre
    trees = tuple(
        tuple(
            node if isinstance(node, Split) else node._replace(weight=node.weight * float(stretch[node.target]))
            for node in tree
        )
        for tree in ensemble.trees
    )
    return msgspec.structs.replace(ensemble, trees=trees, base=tuple(base.tolist()))


def contributions(ensemble: Ensemble, rows: Floats) -> Floats:
    """What each tree adds to each sum for each row, before they are scaled: ``(trees, rows, outputs)``."""
    found = np.zeros((len(ensemble.trees), len(rows), ensemble.outputs))
    every = np.arange(len(rows))
    for number, tree in enumerate(ensemble.trees):
        leaves = [node if isinstance(node, Leaf) else Leaf(0, 0.0) for node in tree]
        targets, weights = np.array([leaf.target for leaf in leaves]), np.array([leaf.weight for leaf in leaves])
        at = _reached(tree, ensemble.mode, rows)
        if ensemble.table:
            found[number] = np.array(ensemble.table)[weights[at].astype(np.int64)]
        else:
            found[number, every, targets[at]] = weights[at]
    return found


def _reached(tree: Tree, mode: str, rows: Floats) -> npt.NDArray[np.int64]:
    """The leaf that each row comes to."""
    inner = [node if isinstance(node, Split) else Split(0, 0.0, at, at, False) for at, node in enumerate(tree)]
    features = np.array([node.feature for node in inner])
    thresholds = np.array([node.threshold for node in inner])
    left, right = np.array([node.left for node in inner]), np.array([node.right for node in inner])
    missing = np.array([node.missing_left for node in inner])
    at = np.zeros(len(rows), dtype=np.int64)
    while True:
        values = rows[np.arange(len(rows)), features[at]]
        goes = values <= thresholds[at] if mode == "BRANCH_LEQ" else values < thresholds[at]
        goes |= np.isnan(values) & missing[at]
        following = np.where(goes, left[at], right[at])
        if np.array_equal(following, at):
            return at
        at = following
