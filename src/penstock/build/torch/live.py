"""A live PyTorch model, which is the caller's own, becomes a file that says by itself what is computed.

Comes in: a module with example rows, a script, or a program. Goes out: what ``torch.export.save`` or ``torch.jit.save``
writes; never a pickle. The caller's model is copied first: its device and its mode of training stay as they are.
"""

from __future__ import annotations

import copy
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from penstock.build.refusals import in_words
from penstock.build.schema import to_arrays
from penstock.build.torch.graphs import exported
from penstock.build.torch.inputs import told_inputs
from penstock.errors import InvalidInput, ModelFailed, PenstockError
from penstock.runtime.torchmodel import CLASSES, of_module

_ROWS = 4


def write_program(program: Any, place: Path, frame: pd.DataFrame | None) -> None:
    """An ``ExportedProgram``, as it is."""
    del frame
    _save(program, {}, place)


def write_script(script: Any, place: Path, frame: pd.DataFrame | None) -> None:
    """A ``ScriptModule``, as it is."""
    del frame
    import_module("torch").jit.save(script, str(place))


def write_module(module: Any, place: Path, frame: pd.DataFrame | None) -> None:
    """Any other module: it is exported with the first rows, for any number of rows.

    Raises:
        InvalidInput: There are no rows, or they do not fit.
        ModelFailed: PyTorch cannot export it.
    """
    torch = import_module("torch")
    if frame is None:
        raise InvalidInput("a module does not say what it takes", "give some rows with data", where="data")
    model = of_module(torch, copy.deepcopy(module).cpu().eval().requires_grad_(False))
    specs = told_inputs(model, frame)
    try:
        program = exported(model, to_arrays(frame.head(_ROWS), specs))
    except PenstockError:
        raise
    except Exception as error:
        raise ModelFailed(
            f"PyTorch cannot export the module: {in_words(error)}",
            "package a folder with its class in model.py and its state_dict: it then runs as it is, in the sandbox",
            code="build.not_exported",
        ) from error
    told = {"classes": list(model.labels), "probabilities": model.probable}
    _save(program, {CLASSES: json.dumps(told)} if model.labels else {}, place)


def _save(program: Any, extra: dict[str, str], place: Path) -> None:
    file = place.with_name(f"{place.name}.pt2")
    import_module("torch.export").save(program, str(file), extra_files=extra)
    file.rename(place)
