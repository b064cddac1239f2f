"""The original model, inside the sandbox: loaded from its file, and asked in the package's conventions.

    file + kind -> load_original -> model
    model + input specs + arrays -> answer -> label, probabilities | scores      (classifiers)
                                              prediction                         (regressors)

Loading runs code that came with the model, so only a sandboxed process may import this file: through
`penstock.runtime.answering` (serving) or an entry of `penstock.build` (golden examples, parity). Libraries are
imported by name where the kind needs them, so that an environment needs only its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import Protocol, TypeGuard

import numpy as np

from penstock.errors import BadConfig
from penstock.runtime.boosters import SUFFIXES, load_booster
from penstock.runtime.catboosters import is_catboost, named_catboost
from penstock.runtime.pickles import load_pickle
from penstock.tensors import Array, Arrays, TensorSpec

MATRIX = "X"
"""Name of the one input of a model that was fitted on a plain matrix."""


_MOST_PROBABLE = {
    ("sklearn", name)
    for name in (
        "DecisionTreeClassifier", "ExtraTreesClassifier", "GaussianNB", "GradientBoostingClassifier",
        "HistGradientBoostingClassifier", "LinearDiscriminantAnalysis", "LogisticRegression", "MLPClassifier",
        "RandomForestClassifier",
    )
} | {("lightgbm", "LGBMClassifier"), ("xgboost", "XGBClassifier")}  # fmt: skip
"""Classifiers whose `predict` is the largest of the very scores behind `predict_proba`, so that one of them will do.

Read in their sources. Not so: SVC and what calibrates, votes or stacks; what a subclass does nobody knows.
"""

_CLEAR = 1e-6
"""Closer probabilities may be in another order than the scores that were rounded to them."""


_OPENERS = {
    "mar": ("handlers", "open_handler"),
    "huggingface": ("encoder", "open_encoder"),
    "python": ("ownclass", "open_class"),
    "savedmodel": ("tensorflowmodel", "open_saved"),
    "keras": ("tensorflowmodel", "open_keras"),
    "torch": ("torchmodel", "open_torch"),
    "mlflow": ("mlmodel", "open_logged"),
    "catboost": ("catboosters", "load_catboost"),
}
"""Kinds with a loader of their own: the module of `penstock.runtime` and its function that opens them."""


class Estimator(Protocol):
    """What every scikit-learn style model can do."""

    def predict(self, rows: object) -> Array:
        """Answer every row."""


class Probable(Estimator, Protocol):
    """A classifier that knows how sure it is."""

    def predict_proba(self, rows: object) -> Array:
        """``(rows, classes)``, each row adds to 1."""


class Scored(Estimator, Protocol):
    """A classifier with distances instead of probabilities."""

    def decision_function(self, rows: object) -> Array:
        """``(rows,)`` for two classes, ``(rows, classes)`` for more."""


def load_original(path: Path, kind: str) -> object:
    """Load a trained model; this runs what the file says.

    Args:
        path: joblib, pickle, skops, or a booster's own file (``.txt``, ``.json``, ``.ubj``, ``.cbm``).
        kind: A name of the adapters' ``format`` table.

    Returns:
        A scikit-learn style model: ``predict``, and ``predict_proba`` or ``decision_function`` where it has one. A
        booster's own file becomes a `penstock.runtime.boosters.BoosterRegressor` or ``BoosterClassifier``; other
        kinds what their opener gives, which answers arrays by itself.

    Raises:
        BadConfig: No original is ever loaded from this kind of file, or the file holds no model.
    """
    opener = _OPENERS.get(kind)
    if opener is not None:
        opened: object = getattr(import_module(f"penstock.runtime.{opener[0]}"), opener[1])(path)
        return opened
    if kind == "skops":
        skops = import_module("skops.io")
        model: object = skops.load(path, trusted=skops.get_untrusted_types(file=path))
    elif kind not in ("sklearn", "lightgbm", "xgboost"):
        raise BadConfig(f"there is no original model to load from {kind}", "use its compiled engine")
    elif path.suffix in SUFFIXES.get(kind, ()):
        model = load_booster(path, kind)
    else:
        model = load_pickle(path)
    if not hasattr(model, "predict"):
        raise BadConfig(
            f"the file holds a {type(model).__name__}, which cannot predict",
            "save the fitted estimator or pipeline itself",
            code="build.no_model",
        )
    # A search over settings answers as the best of what it tried.
    model = getattr(model, "best_estimator_", model)
    return named_catboost(model) if is_catboost(model) else model


def is_classifier(model: object) -> bool:
    """Whether it answers classes: it knows them, or can tell their probability; CatBoost's regressors know none."""
    return len(getattr(model, "classes_", ())) > 0 or _has_probabilities(model)


def answer(model: object, specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> Arrays:
    """Ask the model in the package's conventions.

    Args:
        model: From `load_original`; one that answers arrays by itself is asked as it is.
        specs: The signature's inputs: one ``X`` (``[-1, F]``, or ``[-1]`` for text), or one a column (``[-1, 1]``).
        arrays: Conformed arrays, one a spec.

    Returns:
        For a classifier ``label`` (``(rows,)``, INT64 or text) and ``probabilities`` (``(rows, K)``) or, where it has
        none, ``scores`` (``(rows, K)``; two classes as minus and plus the distance). Else ``prediction``
        (``(rows,)``, or ``(rows, targets)``).
    """
    own = getattr(model, "answer_arrays", None)
    if own is not None:
        answered: Arrays = own(arrays)
        return answered
    distant = getattr(model, "answer_specs", None)
    if distant is not None:
        asked: Arrays = distant(specs, arrays)
        return asked
    return answer_table(model, table(model, specs, arrays))


def answer_table(model: object, rows: object) -> Arrays:
    """Ask the model for rows as it was fitted on them: a DataFrame or an array; see `answer`."""
    own = getattr(model, "answer_table", None)
    if own is not None:
        answered: Arrays = own(rows)
        return answered
    final, rows = _last_step(model, rows)
    if _has_probabilities(final) and (type(final).__module__.partition(".")[0], type(final).__name__) in _MOST_PROBABLE:
        probabilities = _numbers(np.asarray(final.predict_proba(rows)))
        if _is_clear(final, probabilities):
            classes: Array = final.classes_  # type: ignore[attr-defined]
            return {"label": labels(classes[probabilities.argmax(axis=1)]), "probabilities": probabilities}
    predicted = np.asarray(final.predict(rows))
    if not is_classifier(model):
        return {"prediction": _numbers(predicted)}
    answers = {"label": labels(predicted)}
    if _has_probabilities(final):
        answers["probabilities"] = _numbers(np.asarray(final.predict_proba(rows)))
    elif _has_scores(final):
        scores = _numbers(np.asarray(final.decision_function(rows)))
        answers["scores"] = scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1)
    return answers


def _is_clear(final: Estimator, probabilities: Array) -> bool:
    """Whether each row has one class that is more probable than any other, beyond rounding."""
    classes = getattr(final, "classes_", None)
    if not isinstance(classes, np.ndarray) or probabilities.shape[1:] != (len(classes),) or len(classes) < 2:
        return False
    if len(probabilities) == 1:  # numpy takes several times as long for a row
        values = probabilities[0].tolist()
        *_, second, first = sorted(values)
        return first - second > _CLEAR and not any(map(isnan, values))
    first_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return bool(np.greater(np.diff(first_two, axis=1), _CLEAR).all())


def labels(values: Array) -> Array:
    """Class labels as INT64 where they are whole numbers or booleans, else as text.

    Raises:
        BadConfig: There are several a row.
    """
    if values.size != len(values):
        raise BadConfig(
            "the model answers several labels a row, which no package holds",
            "package one model a label, or a class of your own that answers them by name",
            code="build.several_labels",
        )
    values = values.reshape(len(values))
    if values.dtype.kind in "iub":
        return values.astype(np.int64)
    if values.dtype.kind == "f" and np.array_equal(values, values.astype(np.int64)):
        return values.astype(np.int64)
    if values.dtype.kind == "O" and all(isinstance(item, int | np.integer | np.bool_) for item in values):
        return values.astype(np.int64)
    return values.astype(str).astype(object)


def table(model: object, specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> object:
    """The rows as the model was fitted on them: a DataFrame for named columns, else the array itself."""
    names = tuple(str(name) for name in getattr(model, "feature_names_in_", ()))
    if len(specs) == 1 and not getattr(model, "by_column", False):
        array, spec = arrays[specs[0].name], specs[0]
        if array.ndim == 1 or not names:
            return array
        if array.shape[1] == len(names) and spec.datatype != "BYTES" and (len(names) > 1 or names[0] != spec.name):
            return import_module("pandas").DataFrame(array, columns=list(names))
    pandas = import_module("pandas")
    categorical = _wants_categories(model)
    columns = {spec.name: _column(pandas, spec, arrays[spec.name], categorical) for spec in specs}
    return pandas.DataFrame(columns)


def _column(pandas: object, spec: TensorSpec, array: Array, categorical: bool) -> object:
    """One column: text without its missing values' empty strings, and as categories where the model learned such."""
    values = array.reshape(len(array))
    if spec.datatype != "BYTES":
        return values
    if spec.nullable:
        values = np.where(values == "", np.nan, values)
    series = pandas.Series(values, dtype=object)  # type: ignore[attr-defined]
    return series.astype("category") if categorical else series


def _wants_categories(model: object) -> bool:
    """Whether it took its text columns as pandas categories, directly or behind steps that passed them on."""
    steps = getattr(model, "steps", None)
    final = steps[-1][1] if steps else model
    lightgbm = getattr(getattr(final, "booster_", getattr(final, "booster", None)), "pandas_categorical", None)
    if lightgbm or bool(getattr(final, "enable_categorical", False)):
        return True
    by_type = getattr(final, "categorical_features", None) == "from_dtype"
    return by_type and getattr(final, "is_categorical_", None) is not None


def _last_step(model: object, rows: object) -> tuple[Estimator, object]:
    """The estimator at the end of a pipeline with the rows as it sees them, so that they are prepared once."""
    kind = type(model)
    if (kind.__module__, kind.__name__) != ("sklearn.pipeline", "Pipeline"):
        return model, rows  # type: ignore[return-value]
    steps = model.steps  # type: ignore[attr-defined]
    for _, step in steps[:-1]:
        if step is not None and step != "passthrough":
            rows = step.transform(rows)
    return steps[-1][1], rows


def _has_probabilities(model: object) -> TypeGuard[Probable]:
    """Whether it has predict_proba (some have it only with certain settings)."""
    return hasattr(model, "predict_proba")


def _has_scores(model: object) -> TypeGuard[Scored]:
    """Whether it has decision_function."""
    return hasattr(model, "decision_function")


def _numbers(values: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.floating]]:
    """Floats as they are, other numbers as FP64."""
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)  # type: ignore[return-value]
