"""Give classes other names in a graph; see `penstock.runtime.transforms.labels`."""

from __future__ import annotations

from penstock.build.emission import Tensors
from penstock.build.graphs.writer import ML, GraphWriter, Tensor
from penstock.runtime.transform import label_array
from penstock.runtime.transforms.labels import LabelsStep


class LabelsEmission:
    """A look-up of the place, and one of the name."""

    def emit(self, step: LabelsStep, graph: GraphWriter, answers: Tensors) -> Tensors:
        """Another label."""
        given: Tensor = answers["label"]
        before = label_array(step.learned)
        # A label that is none of the classes has no name: it gets the last, as numpy counts from the end.
        if given.datatype == "BYTES":
            codes = graph.places(given.name, before.tolist(), len(before) - 1)
        else:
            whole = graph.cast(given, "INT64")
            keys, places = before.tolist(), list(range(len(before)))
            codes = graph.add(
                "LabelEncoder", whole, domain=ML, keys_int64s=keys, values_int64s=places, default_int64=len(places) - 1
            )
        return {**answers, "label": graph.labels(codes, step.labels)}
