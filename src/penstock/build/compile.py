"""Compile a model into an ONNX graph with the package's inputs and outputs.

    estimator -> text's missing value as "" -> skl2onnx (LightGBM, XGBoost, CatBoost: forests) -> graphs -> graph

What comes in: a fitted scikit-learn style estimator or pipeline, and its signature. What goes out: one or more
candidate graphs, the most exact first. None of them is used before `penstock.build.parity` has held it against
the original.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec.structs import replace
from onnx import ModelProto
from skl2onnx import convert_sklearn
from skl2onnx.common import data_types

from penstock.build.format import Compiled, Specs
from penstock.build.graphs import surgery
from penstock.build.trees.converters import forest_graph, register
from penstock.build.trees.estimators import tables_of
from penstock.build.trees.nodes import widen_trees
from penstock.runtime.catboosters import is_catboost
from penstock.tensors import TensorSpec

Floats = npt.NDArray[np.float64]

OPSETS = {"": 21, "ai.onnx.ml": 3}
MATRIX = "matrix_of_columns"

_KINDS: dict[str, Callable[[list[int | None]], object]] = {
    "BOOL": data_types.BooleanTensorType,
    "INT32": data_types.Int32TensorType,
    "INT64": data_types.Int64TensorType,
    "FP32": data_types.FloatTensorType,
    "FP64": data_types.DoubleTensorType,
    "BYTES": data_types.StringTensorType,
}
_OPTIONS: tuple[dict[str, bool], ...] = (
    {"zipmap": False, "raw_scores": True},
    {"zipmap": False},
    {"raw_scores": True},
    {},
)


def candidates(model: object, inputs: Specs, outputs: Specs) -> Iterator[Compiled]:
    """Ways to compile a model, the most exact first; each is tried by calling it and may raise."""
    yield lambda: _compiled(model, inputs, outputs, wide=True).SerializeToString()
    if by_column(model) and len({spec.datatype for spec in inputs} - {"BYTES", "FP64"}) > 0:
        # Steps that take whole numbers and fractions together compute in doubles; converters want that said.
        yield lambda: _compiled_on_doubles(model, inputs, outputs).SerializeToString()
    yield lambda: _compiled(model, inputs, outputs, wide=False).SerializeToString()


def _compiled(model: object, inputs: Specs, outputs: Specs, *, wide: bool) -> ModelProto:
    """One graph, computing in doubles or in floats."""
    if by_column(model):
        converted = _convert(_without_gaps(model), [(spec.name, _type(spec)) for spec in inputs], outputs)
        surgery.name_inputs(converted.graph, inputs)
    else:
        converted = _matrix_graph(model, inputs, outputs, wide=wide)
    surgery.impute_in_double(converted.graph, list(_statistics(model)))
    if wide:
        widen_trees(converted, tables_of(final_step(model)), narrow_rows=rounds_rows(final_step(model)))
    surgery.name_outputs(converted.graph, outputs)
    surgery.deduplicate_opsets(converted)
    return converted


def _compiled_on_doubles(model: object, inputs: Specs, outputs: Specs) -> ModelProto:
    """The wide graph over doubles for every number, each cast from the input that the signature has."""
    doubles = tuple(spec if spec.datatype == "BYTES" else replace(spec, datatype="FP64") for spec in inputs)
    converted = _compiled(model, doubles, outputs, wide=True)
    surgery.cast_inputs(converted.graph, inputs, doubles)
    return converted


def _matrix_graph(model: object, inputs: Specs, outputs: Specs, *, wide: bool) -> ModelProto:
    """The graph of a model that reads one matrix, whether the signature has that or columns."""
    width = sum(spec.shape[-1] if len(spec.shape) > 1 else 1 for spec in inputs)
    text = all(spec.datatype == "BYTES" for spec in inputs)
    datatype = "BYTES" if text else "FP64" if wide else "FP32"
    if is_forest(model):
        converted = forest_graph(model, width, MATRIX, surgery.TYPES[datatype])
    else:
        converted = _convert(_without_gaps(model), [(MATRIX, _KINDS[datatype]([None, width]))], outputs)
    surgery.join_columns(converted.graph, inputs, MATRIX, surgery.TYPES[datatype])
    return converted


def is_forest(model: object) -> bool:
    """Whether it is a booster without a pipeline."""
    return any(hasattr(model, name) for name in ("get_booster", "booster_", "booster")) or is_catboost(model)


def by_column(model: object) -> bool:
    """Whether its first step picks columns by name."""
    first = steps_of(model)[0]
    return any(hasattr(one, "transformers_") or hasattr(one, "transformer_list") for one in (first,))


def steps_of(model: object) -> list[object]:
    """The steps of a pipeline, or the model alone."""
    return [step for _, step in getattr(model, "steps", [("", model)]) if step not in (None, "passthrough")]


def final_step(model: object) -> object:
    """The estimator at the end of a pipeline, or the model itself."""
    return steps_of(model)[-1]


def rounds_rows(estimator: object) -> bool:
    """Whether it compares float32 rows, as scikit-learn's own trees and XGBoost do; others compare doubles."""
    name = type(estimator).__name__
    return not (name.startswith(("HistGradientBoosting", "LGBM")) or type(estimator).__module__.startswith("lightgbm"))


def parts_of(model: object) -> Iterator[object]:
    """A model and everything inside of it, pipelines and column transformers opened."""
    yield model
    inner = [step for _, step in getattr(model, "steps", ())]
    inner += [one for _, one, _ in getattr(model, "transformers_", ())]
    inner += [one for _, one in getattr(model, "transformer_list", ())]
    for one in inner:
        if not isinstance(one, str) and one is not None:
            yield from parts_of(one)


def _without_gaps(model: object) -> object:
    """A copy in which missing text is "", as it is in arrays."""
    model = copy.deepcopy(model)
    for part in parts_of(model):
        categories = getattr(part, "categories_", None)
        if isinstance(categories, list):
            part.categories_ = [_filled(one) for one in categories]  # type: ignore[attr-defined]
        statistics = getattr(part, "statistics_", None)
        if statistics is not None and np.asarray(statistics).dtype.kind == "O":
            part.missing_values = ""  # type: ignore[attr-defined]
        if getattr(part, "flatten_transform", False):  # of a vote: how it transforms, which nobody asks it to
            part.flatten_transform = False  # type: ignore[attr-defined]
    return model


def _filled(categories: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Text categories with "" for none."""
    if categories.dtype.kind != "O":
        return categories
    return np.array(["" if pd.isna(one) else one for one in categories], dtype=object)


def _statistics(model: object) -> Iterator[Floats]:
    """What its imputers fill in."""
    for part in parts_of(model):
        statistics = getattr(part, "statistics_", None)
        if statistics is not None and np.asarray(statistics).dtype.kind == "f":
            yield np.asarray(statistics, dtype=np.float64)


def _type(spec: TensorSpec) -> object:
    """skl2onnx's word for a column's type."""
    kind = _KINDS.get(spec.datatype) or _KINDS["INT64"]
    return kind([None, spec.shape[-1]])


def _convert(model: object, initial: Sequence[tuple[str, object]], outputs: Sequence[TensorSpec]) -> ModelProto:
    """Convert with the first options that this estimator knows."""
    final = final_step(model)
    scores = any(spec.name == "scores" for spec in outputs)
    classifier = outputs[0].name == "label"
    for options in _OPTIONS if classifier else ():
        if options.get("raw_scores", False) and not scores:
            continue
        try:
            return _converted(model, initial, {id(final): options})
        except NameError:
            continue  # an option that this estimator does not have
    return _converted(model, initial, {})


def _converted(model: object, initial: Sequence[tuple[str, object]], options: dict[int, dict[str, bool]]) -> ModelProto:
    """One conversion."""
    register()
    graph: ModelProto = convert_sklearn(model, initial_types=list(initial), options=options, target_opset=OPSETS)
    return graph
