"""Which outputs an answer has, in a graph; see `penstock.runtime.transforms.answer`."""

from __future__ import annotations

from penstock.build.emission import Tensors
from penstock.build.graphs.chances import column_of
from penstock.build.graphs.writer import GraphWriter, Tensor
from penstock.runtime.transforms.answer import ESSENTIAL, AnswerStep, Chance


class AnswerEmission:
    """Other names; a column each for probabilities of one class."""

    def emit(self, step: AnswerStep, graph: GraphWriter, answers: Tensors) -> Tensors:
        """These outputs, and what is essential."""
        done: Tensors = {}
        for name, source in step.outputs.items():
            if isinstance(source, Chance):
                column = column_of(graph, answers["probabilities"].name, step.place(source))
                flat = Tensor(graph.add("Squeeze", column, graph.whole(1)), answers["probabilities"].datatype)
                done[name] = Tensor(graph.cast(flat, "FP32"), "FP32")
            else:
                done[name] = answers[source]
        return done | {name: answers[name] for name in ESSENTIAL if name in answers and name not in done}
