"""Forests without what changes nothing, in the operator that holds them as tensors; then without what changes little.

    read -> questions whose answer is known, trees that always say one: out -> written as tensors
         -> thresholds and leaves as floats -> trees whose answers spread least over the rows: out

The first form answers as before, the second as before for rows of floats. What dropping trees costs in quality, the
gate says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec
import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper

from penstock.build.compression import ModelForm, copied
from penstock.build.graphs.ensembles import (
    ML_OPSET,
    Ensemble,
    Floats,
    contributions,
    narrowed,
    read_ensemble,
    simplified,
    write_ensemble,
)
from penstock.tensors import Arrays

SHARES = (0.75, 0.5, 0.25)
"""Of the trees that are kept."""
READ = "TreeEnsembleRegressor"
OTHERS = frozenset({"TreeEnsembleClassifier"})
"""Their older set goes with the older operator: a graph that has one stays as it is."""


class Pruning:
    """Trees that change nothing, or little."""

    name: ClassVar[str] = "pruning"

    def forms(self, model: ModelProto, rows: Arrays) -> Iterator[ModelForm]:
        """All of the trees, exactly; as floats; then ever fewer of them.

        Raises:
            NotImplementedError: The graph has no trees, or trees that do more than to compare and to sum.
        """
        found = [node for node in model.graph.node if node.op_type == READ]
        if not found or any(node.op_type in OTHERS for node in model.graph.node):
            raise NotImplementedError("no trees of sums")
        wide = [simplified(read_ensemble(node)) for node in found]
        narrow = [simplified(narrowed(one)) for one in wide]
        yield ModelForm("trees as tensors", lambda: _rewritten(model, wide, TensorProto.DOUBLE))
        yield ModelForm("trees as tensors of floats", lambda: _rewritten(model, narrow, TensorProto.FLOAT))
        read = _reached(model, [node.input[0] for node in found], rows)
        spreads = [_spreads(one, part) for one, part in zip(narrow, read, strict=True)]
        for share in SHARES:
            kept = [_kept(one, spread, share) for one, spread in zip(narrow, spreads, strict=True)]
            yield ModelForm(
                f"{share:.0%} of the trees, as floats",
                lambda kept=kept: _rewritten(model, kept, TensorProto.FLOAT),  # type: ignore[misc]
            )


def _rewritten(model: ModelProto, ensembles: list[Ensemble], element: int) -> ModelProto:
    """A copy with these ensembles in the place of its own."""
    copy = copied(model)
    rest = iter(ensembles)
    nodes: list[NodeProto] = []
    for at, node in enumerate(copy.graph.node):
        if node.op_type != READ:
            nodes.append(node)
            continue
        given, sums = f"trees_{at}_rows", f"trees_{at}_sums"
        nodes.append(helper.make_node("Cast", [node.input[0]], [given], to=element))
        nodes += write_ensemble(next(rest), given, sums, element)
        # The older operator answers floats whatever it reads, and what follows may be of that mind.
        nodes.append(helper.make_node("Cast", [sums], [node.output[0]], to=TensorProto.FLOAT))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    del copy.graph.value_info[:]
    others = [one for one in copy.opset_import if one.domain != "ai.onnx.ml"]
    del copy.opset_import[:]
    copy.opset_import.extend([*others, helper.make_opsetid("ai.onnx.ml", ML_OPSET)])
    return copy


def _reached(model: ModelProto, names: list[str], rows: Arrays) -> list[Floats]:
    """What rows have become where they reach the trees."""
    copy = copied(model)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(names))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answers = dict(zip((one.name for one in copy.graph.output), session.run(None, rows), strict=True))
    return [answers[name].astype(np.float64) for name in names]


def _spreads(ensemble: Ensemble, rows: Floats) -> Floats:
    """How far each tree's answers spread over the rows."""
    return np.array([contributions(tree, ensemble.mode, rows).std() for tree in ensemble.trees])


def _kept(ensemble: Ensemble, spreads: Floats, share: float) -> Ensemble:
    """The trees that spread most; the others are dropped.

    What they say on average is not put back: of a boosted forest it is next to nothing, and the gate judges the rest.
    """
    count = max(1, round(share * len(ensemble.trees)))
    kept = np.sort(np.argsort(-spreads, kind="stable")[:count])
    return msgspec.structs.replace(ensemble, trees=tuple(ensemble.trees[at] for at in kept))
