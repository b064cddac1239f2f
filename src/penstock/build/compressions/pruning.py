"""Forests without what changes nothing, in the operator that holds them as tensors; then without what changes little.

    read -> questions whose answer is known, trees that always say one: out -> written as tensors
         -> thresholds and leaves as floats -> trees whose answers spread least over the rows: out

The first form answers as before, the second as before for rows of floats. What dropping trees costs in quality, the
gate says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper

from penstock.build.compression import OPSET, ModelForm, copied, opset_of
from penstock.build.graphs.ensemble_nodes import ML_OPSET, read_ensemble, write_answers, write_ensemble
from penstock.build.graphs.ensembles import Ensemble, Floats, contributions, narrowed, parted, simplified, thinned
from penstock.tensors import Arrays

SHARES = (0.75, 0.5, 0.25)
"""Of the trees that are kept."""
CLASSIFIER = "TreeEnsembleClassifier"
READ = frozenset({"TreeEnsembleRegressor", CLASSIFIER})
MAX_ROW_BYTES = 16 << 10
"""What looking leaves up in a table may take a row of a run; beyond it each class has sums of its own."""


class Pruning:
    """Trees that change nothing, or little."""

    name: ClassVar[str] = "pruning"

    def forms(self, model: ModelProto, rows: Arrays) -> Iterator[ModelForm]:
        """All of the trees, exactly; as floats; then ever fewer of them.

        Raises:
            NotImplementedError: The graph has no trees, or trees that do more than to compare and to sum.
        """
        found = [node for node in model.graph.node if node.op_type in READ]
        if not found:
            raise NotImplementedError("no trees of sums")
        for node in found:
            if node.op_type == CLASSIFIER:
                write_answers(node, "")
        read = [read_ensemble(node) for node in found]
        wide = [simplified(one if _fits(one, model) else parted(one)) for one in read]
        narrow = [simplified(narrowed(one)) for one in wide]
        yield ModelForm("trees as tensors", lambda: _rewritten(model, wide, TensorProto.DOUBLE))
        yield ModelForm("trees as tensors of floats", lambda: _rewritten(model, narrow, TensorProto.FLOAT))
        reached = _reached(model, [node.input[0] for node in found], rows)
        said = [contributions(one, part) for one, part in zip(narrow, reached, strict=True)]
        for share in SHARES:
            kept = [thinned(one, every, share) for one, every in zip(narrow, said, strict=True)]
            yield ModelForm(
                f"{share:.0%} of the trees, as floats",
                lambda kept=kept: _rewritten(model, kept, TensorProto.FLOAT),  # type: ignore[misc]
            )


def _fits(ensemble: Ensemble, model: ModelProto) -> bool:
    """Whether a table of leaves, if it has one, can be said in this graph, and looking up takes no more than it may."""
    row_bytes = len(ensemble.trees) * 8 * (2 + ensemble.outputs)
    return not ensemble.table or (row_bytes <= MAX_ROW_BYTES and opset_of(model) >= OPSET)


def _rewritten(model: ModelProto, ensembles: list[Ensemble], element: int) -> ModelProto:
    """A copy with these ensembles in the place of its own."""
    copy = copied(model)
    rest = iter(ensembles)
    nodes: list[NodeProto] = []
    for at, node in enumerate(copy.graph.node):
        if node.op_type not in READ:
            nodes.append(node)
            continue
        given, sums = f"trees_{at}_rows", f"trees_{at}_sums"
        nodes.append(helper.make_node("Cast", [node.input[0]], [given], to=element))
        nodes += write_ensemble(next(rest), given, sums, element)
        if node.op_type == CLASSIFIER:
            nodes += write_answers(node, sums)
        else:
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
