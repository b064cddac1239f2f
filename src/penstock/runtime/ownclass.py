"""A person's own class, inside the sandbox: imported, made, and asked in the package's conventions.

    penstock_entry.py -> module -> class -> Class(), Class(folder) or load(folder) -> instance
    rows (DataFrame or array) -> predict, predict_proba -> label, probabilities | prediction | outputs by name

Importing runs somebody's code, so only a sandboxed process may do so. What the class has to look like stands in
docs/own-models.md.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

import numpy as np

from penstock.errors import BadConfig, ModelFailed, PenstockError
from penstock.runtime.ownanswers import by_name, column, labels_of, of_rows
from penstock.runtime.torchmodel import TorchModel
from penstock.runtime.torchweights import is_module, open_module
from penstock.tensors import Array, Arrays

ENTRY = "penstock_entry.py"
"""Beside the class's own files: it imports the class as ``Model``, or the whole module as ``source``."""

_ARRAYS = re.compile(r"\b(ndarray|NDArray|ArrayLike)\b")


class Predicting(Protocol):
    """What a person's class has; ``predict_proba``, ``classes_``, ``columns`` and ``row_by_row`` are optional."""

    def predict(self, rows: object) -> object:
        """Answer every row."""


class OwnClass:
    """An instance of a person's class, with the manners of an estimator.

    Attributes:
        by_column: It takes a DataFrame; else one matrix.
        row_by_row: It is asked for each row alone, because its answers hang on the rows beside.
        feature_names_in_: The columns that it says it reads; empty where it does not say.
        classes_: Only there where it knows its classes.

    Args:
        instance: Of the person's class.
        folder: Where the class's files are: what it raises is noted with its place in them.
    """

    def __init__(self, instance: Predicting, folder: Path | None = None) -> None:
        self.by_column = _takes_frame(instance)
        self.row_by_row = getattr(instance, "row_by_row", False) is True
        self.feature_names_in_ = tuple(str(name) for name in getattr(instance, "columns", ()))
        self._instance = instance
        self._folder = folder
        self._probable: Callable[[object], object] | None = getattr(instance, "predict_proba", None)
        known = getattr(instance, "classes_", None)
        if known is not None:
            self.classes_ = np.asarray(known)

    @property
    def probable(self) -> bool:
        """Whether it has ``predict_proba``."""
        return self._probable is not None

    def answer_table(self, rows: object) -> Arrays:
        """Its answers in the package's conventions.

        Raises:
            ModelFailed: It answers something that a package cannot.
        """
        count = len(rows)  # type: ignore[arg-type]
        if not self.row_by_row or count <= 1:
            return self._asked(rows, count)
        some = rows.iloc if self.by_column else rows  # type: ignore[attr-defined]
        parts = [self._asked(some[at : at + 1], 1) for at in range(count)]  # type: ignore[index]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _asked(self, rows: object, count: int) -> Arrays:
        try:
            answered = self._instance.predict(rows)
            named = by_name(answered)
            if named is not None:
                return {name: of_rows(column(values), count) for name, values in named.items()}
            values = of_rows(column(answered), count)
            if self._probable is None:
                return self._told(values)
            return self._told(values, of_rows(column(self._probable(rows)), count))
        except ModuleNotFoundError as error:
            raise missing_module(error) from error
        except SystemExit:
            raise RuntimeError("the class asked to end its process") from None
        except Exception as error:
            if self._folder is not None and (place := _line(error, self._folder)):
                error.add_note(place)
            raise

    def _told(self, values: Array, chances: Array | None = None) -> Arrays:
        """As a classifier or a regression answers."""
        classes: Array | None = getattr(self, "classes_", None)
        if chances is None and classes is not None and values.dtype.kind == "f" and values.shape[1:] == classes.shape:
            return {"label": labels_of(classes[values.argmax(axis=1)]), "probabilities": values}
        if chances is None and classes is None and values.dtype.kind in "iuf":
            return {"prediction": values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)}
        if values.size != len(values):
            raise ModelFailed(
                "the class answers several labels a row",
                "answer one a row, a row of numbers, or a dict of outputs by name",
                code="build.bad_answer",
            )
        told = {"label": labels_of(values.reshape(len(values)))}
        if chances is not None:
            if chances.ndim != 2 or chances.dtype.kind not in "iuf":
                raise ModelFailed(
                    "the class's predict_proba answers no matrix of numbers",
                    "answer one row a row, one column a class",
                    code="build.bad_answer",
                )
            told["probabilities"] = chances if chances.dtype in (np.float32, np.float64) else chances.astype(np.float64)
        return told


def open_class(entry: Path) -> OwnClass | TorchModel:
    """Import a class and make its instance; this runs its code.

    Args:
        entry: `ENTRY`, in the folder of the class's files.

    Raises:
        BadConfig: There is no such class, or a module that it imports is not installed.
        ModelFailed: It cannot be made.
    """
    folder = entry.parent
    return cast("OwnClass | TorchModel", guarded(lambda: _opened(_class_of(folder), folder), folder))


def _opened(kind: type, folder: Path) -> OwnClass | TorchModel:
    """An instance; a module of PyTorch's has no ``predict`` of its own, and its weights lie beside it."""
    return open_module(kind, folder) if not _predicts(kind) else OwnClass(_made(kind, folder), folder)


def _predicts(kind: object) -> bool:
    return callable(getattr(kind, "predict", None))


def guarded(step: Callable[[], object], folder: Path) -> object:
    """Run a step of somebody's code, and say in which line of it what went wrong.

    Raises:
        BadConfig: A module is not there.
        ModelFailed: It raised, or asked to end the process.
    """
    try:
        return step()
    except (PenstockError, MemoryError):
        raise
    except ModuleNotFoundError as error:
        raise missing_module(error, _in_brackets(_line(error, folder))) from error
    except SystemExit:
        raise ModelFailed(
            "the model asked to end its process while it was loaded", "leave exit() out", code="build.class_failed"
        ) from None
    except Exception as error:
        place = _in_brackets(_line(error, folder))
        raise ModelFailed(
            f"the model cannot be loaded: {type(error).__name__}: {str(error)[:300]}{place}",
            "it runs without network and other processes, and writes to its scratch folder alone",
            code="build.class_failed",
        ) from error


def missing_module(error: ModuleNotFoundError, place: str = "") -> BadConfig:
    """What to say where a module is not there."""
    return BadConfig(
        f"the model needs the module {error.name}, which is not installed here{place}",
        "install it beside Penstock; if it is a file of the model's own, put both into one folder and package that",
        code="build.missing_module",
    )


def _class_of(folder: Path) -> type:
    """The class that the entry names, or the only one of its module."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    entry = import_module(ENTRY.removesuffix(".py"))
    named = getattr(entry, "Model", None)
    if named is not None:
        if not inspect.isclass(named) or not (_predicts(named) or is_module(named)):
            raise BadConfig("what was named is no class with predict(rows)", "name a class: FILE.py:Class")
        return cast(type, named)
    source: ModuleType = entry.source
    own = [kind for _, kind in inspect.getmembers(source, inspect.isclass) if kind.__module__ == source.__name__]
    kinds = [kind for kind in own if _predicts(kind)] or [kind for kind in own if is_module(kind)]
    if len(kinds) != 1:
        raise BadConfig(
            f"{source.__name__}.py has {len(kinds)} classes with predict(rows), or modules of PyTorch's",
            "have one of them there, or name it: FOLDER:Class",
            code="build.no_class",
        )
    return kinds[0]


def _made(kind: type, folder: Path) -> Predicting:
    """An instance: ``Class(folder)`` where it takes one argument, else ``Class()``; then ``load(folder)``."""
    load = inspect.getattr_static(kind, "load", None)
    if isinstance(load, classmethod | staticmethod):
        return cast(Predicting, kind.load(folder))  # type: ignore[attr-defined]
    needed = [
        one
        for one in inspect.signature(kind).parameters.values()
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        and (one.default is one.empty or one.name == "folder")
    ]
    if len(needed) > 1:
        raise BadConfig(
            f"{kind.__name__} needs {len(needed)} arguments",
            "it is made with its folder, or with nothing",
            code="build.no_class",
        )
    instance = kind(folder) if needed else kind()
    if load is not None:
        instance.load(folder)
    return cast(Predicting, instance)


def _takes_frame(instance: Predicting) -> bool:
    """By the class's ``rows`` ("frame" or "array"), else by the annotation of predict's argument; a frame if unsaid."""
    wish = getattr(instance, "rows", None)
    if wish in ("frame", "array"):
        return bool(wish == "frame")
    try:
        first = next(iter(inspect.signature(instance.predict).parameters.values()), None)
    except (TypeError, ValueError):
        return True
    return first is None or first.annotation is first.empty or not _ARRAYS.search(str(first.annotation))


def _line(error: BaseException, folder: Path) -> str:
    """Where in the model's own files it came from."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(folder) and Path(frame.filename).name != ENTRY:
            return f"{Path(frame.filename).relative_to(folder)}, line {frame.lineno}"
    return ""


def _in_brackets(place: str) -> str:
    return f" ({place})" if place else ""
