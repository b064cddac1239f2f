"""The trees inside of a scikit-learn estimator, node by node, as they compare.

What comes in: a fitted tree, forest, gradient boosting or histogram gradient boosting. What goes out: exact
thresholds and where a missing value goes, in the numbering that skl2onnx gives its tree operators.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_NODE_BYTES = 64


class TreeTable(msgspec.Struct, frozen=True, kw_only=True):
    """One tree, an entry a node.

    Attributes:
        feature: Column that is compared; of a leaf whatever the library keeps there.
        threshold: A row goes left if its value is not greater.
        missing_left: A row without a value goes left.
        inner: The node compares something.
    """

    feature: Ints
    threshold: Floats
    missing_left: Flags
    inner: Flags


def tables_of(estimator: object) -> list[TreeTable]:
    """Its trees in order; empty for other models."""
    return [*_histogram_trees(estimator)] or [*_plain_trees(estimator)]


def bytes_of_trees(estimator: object) -> int:
    """What the nodes of its trees take in memory, told from their numbers alone; 0 of other models."""
    size = 0
    for member in np.ravel(np.asarray(getattr(estimator, "estimators_", [estimator]), dtype=object)):
        tree = getattr(member, "tree_", None)
        if tree is not None:
            size += tree.node_count * (_NODE_BYTES + 8 * tree.n_outputs * tree.max_n_classes)
    return size


def _plain_trees(estimator: object) -> Iterator[TreeTable]:
    """Trees, forests and gradient boosting."""
    for member in np.ravel(np.asarray(getattr(estimator, "estimators_", [estimator]), dtype=object)):
        tree = getattr(member, "tree_", None)
        if tree is None:
            continue
        nodes = tree.__getstate__()["nodes"]
        missing = nodes["missing_go_to_left"] if "missing_go_to_left" in nodes.dtype.names else np.zeros(len(nodes))
        yield TreeTable(
            feature=nodes["feature"].astype(np.int64),
            threshold=nodes["threshold"].astype(np.float64),
            missing_left=missing.astype(np.bool_),
            inner=nodes["left_child"] >= 0,
        )


def _histogram_trees(estimator: object) -> Iterator[TreeTable]:
    """Histogram gradient boosting."""
    for stage in getattr(estimator, "_predictors", ()):
        for predictor in stage:
            nodes = predictor.nodes
            yield TreeTable(
                feature=nodes["feature_idx"].astype(np.int64),
                threshold=nodes["num_threshold"].astype(np.float64),
                missing_left=nodes["missing_go_to_left"].astype(np.bool_),
                inner=~nodes["is_leaf"].astype(np.bool_) & ~nodes["is_categorical"].astype(np.bool_),
            )
