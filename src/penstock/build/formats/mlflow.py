"""MLflow's folders, in an archive of their files: a known flavor's file is handed to its format, code stays code.

What comes in: what `penstock.build.sources.archive_source` wrote. What goes out: the format's own model, held to the
columns and types of MLflow's signature, with the folder's input example as rows where no others are given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from penstock.build.format import Audit, Compiled, ModelFormat, Original, Specs, detect
from penstock.build.formats.python import ClassModel, members, unpacked
from penstock.build.sources import MLMODEL
from penstock.errors import BadConfig, InvalidInput, PenstockError
from penstock.packages.archive import unpack
from penstock.runtime.mlmodel import LoggedModel, native_file, open_own, read_mlmodel
from penstock.tensors import Arrays

MAX_EXAMPLE_BYTES = 16 << 20
_TEXT = frozenset({"string"})
_NUMBERS = frozenset({"integer", "long", "float", "double", "boolean"})


class MlflowFormat:
    """What `mlflow.*.save_model` and `log_model` write."""

    suffixes = (f"/{MLMODEL}",)

    def sniff(self, path: Path) -> str:
        """An archive with an MLmodel file."""
        return self.suffixes[0] if MLMODEL in members(path) else ""

    def audit(self, path: Path) -> Audit:
        """Of a known flavor what its own format says; of any other its loader and all code that lies there."""
        with TemporaryDirectory(prefix="audit-") as place:
            folder = unpack(path, Path(place) / "original")
            logged = read_mlmodel(folder)
            if logged.runs_code:
                code = sorted(name for name in members(path) if name.endswith((".py", ".pkl", ".pickle", ".so")))
                return Audit(names=(logged.loader, *code), refused=(logged.loader, *code))
            found = _known(folder, logged)
            return found[0].audit(found[1])

    def open(self, path: Path) -> Original:
        """The flavor's model, or the code's."""
        folder = unpacked(path)
        logged = read_mlmodel(folder)
        if logged.runs_code:
            return LoggedOriginal(ClassModel(open_own(folder, logged)), folder, logged)
        known, file = _known(folder, logged)
        return LoggedOriginal(known.open(file), folder, logged)

    def around(self, original: Original, folder: Path) -> Original:
        """The same of a model that is in an environment of its own, with the folder unpacked here."""
        return LoggedOriginal(original, folder, read_mlmodel(folder))


class LoggedOriginal:
    """Another format's model, held to what MLflow's signature says.

    Attributes:
        example: Rows of the folder's own; None where it has none that fit.
    """

    def __init__(self, original: Original, folder: Path, logged: LoggedModel) -> None:
        self._original = original
        self._logged = logged
        self.example = _example(folder, logged)

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """The model's."""
        return self._original.classes

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """The model's, told from the signature's columns of the rows.

        Raises:
            InvalidInput: The data, or the model itself, has other columns or types than the signature.
        """
        frame = self.example if frame is None else frame
        names = self._logged.names
        if frame is not None and names:
            lacking = [name for name in names if name not in frame.columns]
            if lacking:
                raise InvalidInput(
                    f"the data lacks columns of MLflow's signature: {', '.join(lacking[:8])}",
                    "give the columns that the model was logged with",
                    where="data",
                )
            frame = frame[list(names)]
        specs = self._original.inputs(frame)
        _require_alike(specs, self._logged)
        return specs

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """What the model says."""
        return self._original.answer(inputs, rows)

    def graphs(self, inputs: Specs, outputs: Specs) -> Iterator[Compiled]:
        """The model's."""
        return self._original.graphs(inputs, outputs)

    def edges(self, inputs: Specs, rows: Arrays) -> Arrays | None:
        """The model's."""
        return self._original.edges(inputs, rows)


def _known(folder: Path, logged: LoggedModel) -> tuple[ModelFormat, Path]:
    """The format of a flavor's file, by its content.

    Raises:
        BadConfig: There is none here.
    """
    file, _ = native_file(folder, logged)
    try:
        name, known, _ = detect(file)
    except PenstockError as error:
        raise BadConfig(
            f"the MLflow model is of flavor {logged.flavor}, whose file no format here reads",
            f"{error.hint}; or log it as scikit-learn, LightGBM, XGBoost or ONNX",
            code="build.unknown_format",
        ) from error
    if name in ("mlflow", "python", "huggingface"):
        raise BadConfig(
            "a folder of MLflow's holds another archive", "log the model itself", code="build.unknown_format"
        )
    return known, file


def _require_alike(specs: Specs, logged: LoggedModel) -> None:
    """Hold the inputs to the signature: the same columns, text where text is said."""
    if not logged.names:
        return
    columns = [(name, spec) for spec in specs for name in (spec.columns or (spec.name,))]
    matrix = len(specs) == 1 and not specs[0].columns and len(specs[0].shape) > 1 and specs[0].shape[1] > 1
    strange = sorted({name for name, _ in columns} - set(logged.names))
    if strange and not matrix:
        raise InvalidInput(
            f"the model reads columns that MLflow's signature lacks: {', '.join(strange[:8])}",
            "log it again with the signature of its data",
            where=MLMODEL,
        )
    said = {one.name: str(one.type) for one in logged.columns}
    for name, spec in columns:
        kind = said.get(name, "")
        text = spec.datatype == "BYTES"
        if (text and kind in _NUMBERS) or (not text and kind in _TEXT):
            raise InvalidInput(
                f"the column {name} is {kind} in MLflow's signature and {spec.datatype} here",
                "give data as the model was logged with, or log it again with the signature of this",
                where="data",
            )


def _example(folder: Path, logged: LoggedModel) -> pd.DataFrame | None:
    """The input example as a frame; None where it is no table of rows."""
    if not logged.example or (folder / logged.example).stat().st_size > MAX_EXAMPLE_BYTES:
        return None
    try:
        tree = json.loads((folder / logged.example).read_bytes())
        if isinstance(tree, dict) and isinstance(tree.get("data"), list):
            frame = pd.DataFrame(tree["data"], columns=tree.get("columns"))
        else:
            rows = tree.get("inputs") if isinstance(tree, dict) else tree
            frame = pd.DataFrame(rows) if isinstance(rows, list) else pd.DataFrame()
    except (ValueError, TypeError, RecursionError):
        return None
    if frame.empty:
        return None
    frame.columns = frame.columns.map(str)
    doubles = {one.name: "float64" for one in logged.columns if one.type == "double" and one.name in frame}
    try:
        return frame.astype(doubles)
    except (ValueError, TypeError):
        return None
