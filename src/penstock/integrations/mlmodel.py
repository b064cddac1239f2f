"""What lies at the end of an MLflow model URI: a package of ours, a model's file, or MLflow's own folder.

Comes in: a path. Goes out: a `FoundModel`: what to package, and rows to prove it with where MLflow kept some. Of
MLflow's folder nothing is run: its ``MLmodel`` says which file is the trained model, and that file is packaged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import yaml

from penstock.errors import InvalidInput

MANIFEST = "manifest.json"
MLMODEL = "MLmodel"
FILES = {"sklearn": "pickled_model", "onnx": "data", "xgboost": "data", "lightgbm": "data"}
"""Flavor -> what its file is called in ``MLmodel``."""


class FoundModel(NamedTuple):
    """What is to be deployed.

    Attributes:
        path: A package's folder, or a model's file.
        flavor: ``penstock`` for a package, else MLflow's name for it; empty for a file that has to be looked into.
        columns: Names of the example's columns; empty where they have none.
        example: Rows that MLflow kept beside the model; empty where it kept none.
    """

    path: Path
    flavor: str
    columns: tuple[str, ...] = ()
    example: tuple[tuple[object, ...], ...] = ()


def find_model(path: Path, flavor: str = "") -> FoundModel:
    """What a path holds.

    Args:
        path: A file or a folder.
        flavor: Which of a folder's flavors; the first that can be packaged where none is named.

    Raises:
        InvalidInput: It is neither, or of no flavor that can be packaged.
    """
    if (path / MANIFEST).is_file():
        return FoundModel(path, "penstock")
    if path.is_file():
        return FoundModel(path, flavor)
    if not (path / MLMODEL).is_file():
        raise InvalidInput(
            "there is no model there",
            f"name a model's file, a folder with {MLMODEL}, or a package's",
            where="model_uri",
        )
    said = yaml.safe_load((path / MLMODEL).read_text())
    flavors = said.get("flavors", {}) if isinstance(said, dict) else {}
    wanted = [flavor] if flavor else [name for name in FILES if name in flavors]
    if not wanted or wanted[0] not in FILES or wanted[0] not in flavors:
        raise InvalidInput(
            "the folder holds no flavor that can be packaged", f"those are {', '.join(FILES)}", where="flavor"
        )
    chosen = flavors[wanted[0]]
    name = chosen.get(FILES[wanted[0]]) if isinstance(chosen, dict) else None
    file = path / str(name)
    if not name or not file.is_file() or path.resolve() not in file.resolve().parents:
        raise InvalidInput("the model's file is not in its folder", "log the model again", where=MLMODEL)
    columns, example = _example(path, said.get("saved_input_example_info"))
    return FoundModel(file, wanted[0], columns, example)


def _example(path: Path, info: object) -> tuple[tuple[str, ...], tuple[tuple[object, ...], ...]]:
    """Columns and rows of the input example, of the two kinds that are tables."""
    file = path / str(info.get("artifact_path", "")) if isinstance(info, dict) else path / "input_example.json"
    if not file.is_file() or path.resolve() not in file.resolve().parents:
        return (), ()
    found = json.loads(file.read_text())
    if isinstance(found, dict):
        found = found.get("dataframe_split", found)
        rows = found.get("data", found.get("inputs"))
        columns = tuple(map(str, found.get("columns", ())))
    else:
        rows, columns = found, ()
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        return (), ()
    return columns, tuple(tuple(row) for row in rows)
