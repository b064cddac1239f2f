"""The original model, inside the sandbox: loaded from its file, and asked in the package's conventions.

    file + kind -> load_original -> model
    model + input specs + arrays -> answer -> label, probabilities | scores      (classifiers)
                                              prediction                         (regressors)

Loading runs code that came with the model, so only a sandboxed process may import this file: through
`penstock.runtime.answering` (serving) or an entry of `penstock.build` (golden examples, parity). Libraries are
imported by name where the kind needs them, so that an environment needs only its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import Protocol, TypeGuard

import numpy as np

from penstock.errors import BadConfig
from penstock.runtime.boosters import SUFFIXES, load_booster
from penstock.runtime.catboosters import is_catboost, named_catboost
from penstock.runtime.modeltable import ModelTable
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


class _Step(Protocol):
    """What stands in a pipeline before its estimator."""

    def transform(self, rows: object) -> object:
        """The rows as the next one sees them."""


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
    return bind(model, specs)(arrays)


def bind(model: object, specs: Sequence[TensorSpec]) -> Callable[[Mapping[str, Array]], Arrays]:
    """What asks the model as `answer` does, again and again: what model and signature decide is decided once."""
    own: Callable[[Mapping[str, Array]], Arrays] | None = getattr(model, "answer_arrays", None)
    if own is not None:
        return own
    distant: Callable[..., Arrays] | None = getattr(model, "answer_specs", None)
    if distant is not None:
        return partial(distant, specs)
    rows, asked = ModelTable(model, specs), AskedModel(model)
    return lambda arrays: asked.answer(rows.of(arrays))


def answer_table(model: object, rows: object) -> Arrays:
    """Ask the model for rows as it was fitted on them: a DataFrame or an array; see `answer`."""
    return AskedModel(model).answer(rows)


class AskedModel:
    """A model, and how it is asked."""

    def __init__(self, model: object) -> None:
        self._own: Callable[[object], Arrays] | None = getattr(model, "answer_table", None)
        if self._own is not None:
            return
        self._before, self._final = _parts(model)
        final = self._final
        self._classifies = is_classifier(model)
        self._classes: object = getattr(final, "classes_", None)
        kind = (type(final).__module__.partition(".")[0], type(final).__name__)
        self._named: Array | None = None
        if kind in _MOST_PROBABLE and _has_probabilities(final) and _are_names(self._classes):
            self._named = labels(self._classes)

    def answer(self, rows: object) -> Arrays:
        """See `answer_table`."""
        if self._own is not None:
            return self._own(rows)
        for step in self._before:
            rows = step.transform(rows)
        final = self._final
        if self._named is not None and _has_probabilities(final):
            probabilities = _numbers(np.asarray(final.predict_proba(rows)))
            if _is_clear(probabilities, len(self._named)):
                return {"label": self._named[probabilities.argmax(axis=1)], "probabilities": probabilities}
        predicted = np.asarray(final.predict(rows))
        if not self._classifies:
            return {"prediction": _numbers(predicted)}
        answers = {"label": labels(predicted, self._classes)}
        if _has_probabilities(final):
            answers["probabilities"] = _numbers(np.asarray(final.predict_proba(rows)))
        elif _has_scores(final):
            scores = _numbers(np.asarray(final.decision_function(rows)))
            answers["scores"] = scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1)
        return answers


def _are_names(classes: object) -> TypeGuard[Array]:
    """Whether these are several classes of one label."""
    return isinstance(classes, np.ndarray) and classes.ndim == 1 and len(classes) > 1


def _is_clear(probabilities: Array, classes: int) -> bool:
    """Whether each row has one class that is more probable than any other, beyond rounding."""
    if probabilities.shape[1:] != (classes,):
        return False
    if len(probabilities) == 1:  # numpy takes several times as long for a row
        values = probabilities[0].tolist()
        *_, second, first = sorted(values)
        return first - second > _CLEAR and not any(map(isnan, values))
    first_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return bool(np.greater(np.diff(first_two, axis=1), _CLEAR).all())


def labels(values: Array, classes: object = None) -> Array:
    """Class labels as INT64 where they are whole numbers or booleans, else as text.

    Args:
        values: They.
        classes: All that there are, where they are known: what one row's label is must not depend on its neighbours.

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
    known = isinstance(classes, np.ndarray) and classes.ndim == 1 and classes.dtype == values.dtype
    if _are_whole(classes if known else values):  # type: ignore[arg-type]
        return values.astype(np.int64)
    return values.astype(str).astype(object)


def _are_whole(values: Array) -> bool:
    """Whether they are whole numbers or booleans."""
    if values.dtype.kind == "f":
        return np.array_equal(values, values.astype(np.int64))
    if values.dtype.kind == "O":
        return all(isinstance(item, int | np.integer | np.bool_) for item in values)
    return values.dtype.kind in "iub"


def _parts(model: object) -> tuple[list[_Step], Estimator]:
    """The steps of a pipeline and the estimator at its end, so that rows are prepared once for all it is asked."""
    kind = type(model)
    if (kind.__module__, kind.__name__) != ("sklearn.pipeline", "Pipeline"):
        return [], model  # type: ignore[return-value]
    *before, (_, final) = model.steps  # type: ignore[attr-defined]
    return [step for _, step in before if step is not None and step != "passthrough"], final


def _has_probabilities(model: object) -> TypeGuard[Probable]:
    """Whether it has predict_proba (some have it only with certain settings)."""
    return hasattr(model, "predict_proba")


def _has_scores(model: object) -> TypeGuard[Scored]:
    """Whether it has decision_function."""
    return hasattr(model, "decision_function")


def _numbers(values: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.floating]]:
    """Floats as they are, other numbers as FP64."""
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)  # type: ignore[return-value]
