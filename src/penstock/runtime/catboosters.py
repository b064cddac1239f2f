"""CatBoost's models with the manners of an estimator: their own files loaded, and their columns named.

Only `penstock.runtime.original` imports this file, inside the sandbox; the library is imported by name.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

_PACKAGE = "catboost"


def load_catboost(path: Path) -> object:
    """Read what ``save_model`` wrote, ``.cbm`` or ``.json``: a classifier where it knows classes, else what fits.

    Raises:
        Exception: CatBoost's own: it is no such file.
    """
    model = import_module(_PACKAGE).CatBoost()
    model.load_model(str(path), format=path.suffix.removeprefix("."))
    return named_catboost(model)


def is_catboost(model: object) -> bool:
    """Whether it is one of CatBoost's own classes."""
    return type(model).__module__.partition(".")[0] == _PACKAGE and hasattr(type(model), "get_borders")


def named_catboost(model: object) -> object:
    """A model with a face that answers by its objective, and its columns' names as scikit-learn says them.

    CatBoost numbers the columns itself where it was given an array; those are no names, unless some are categories,
    which no matrix of numbers can hold.
    """
    if not model.is_fitted():  # type: ignore[attr-defined]
        return model  # which answers nothing, and is told so
    library = import_module(_PACKAGE)
    if type(model) is library.CatBoost:
        model = _with_face(library, model)
    names = [str(name) for name in model.feature_names_]  # type: ignore[attr-defined]
    numbered = names == [str(place) for place in range(len(names))]
    if not numbered or model.get_cat_feature_indices():  # type: ignore[attr-defined]
        model.feature_names_in_ = names  # type: ignore[attr-defined]
    return model


def _with_face(library: object, model: object) -> object:
    """Its classifier, regressor or ranker; each refuses objectives that are not its own."""
    if len(model.classes_):  # type: ignore[attr-defined]
        return cast(object, library.to_classifier(model))  # type: ignore[attr-defined]
    try:
        return cast(object, library.to_regressor(model))  # type: ignore[attr-defined]
    except library.CatBoostError:  # type: ignore[attr-defined]
        return cast(object, library.to_ranker(model))  # type: ignore[attr-defined]
