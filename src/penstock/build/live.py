"""A live model, which is the caller's own, becomes a file: of its library's own kind where that has one, else a pickle.

Nothing is imported to find out: a class tells by its ancestors' names which library's it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from penstock.build.torch.live import write_module, write_program, write_script

Writer = Callable[[Any, Path, pd.DataFrame | None], None]


def write_live(model: object, place: Path, frame: pd.DataFrame | None = None) -> None:
    """Write a model to a file.

    Args:
        model: A fitted estimator, a ``keras.Model``, a ``torch.nn.Module``, whatever joblib can write.
        place: The file.
        frame: Example rows, which a module of PyTorch's is exported with.
    """
    for kind in type(model).__mro__:
        writer = _WRITERS.get((kind.__module__.partition(".")[0], kind.__name__))
        if writer is not None:
            writer(model, place, frame)
            return
    joblib.dump(model, place)


def _write_keras(model: Any, place: Path, frame: pd.DataFrame | None) -> None:
    """Keras goes by the suffix."""
    del frame
    file = place.with_name(f"{place.name}.keras")
    model.save(file)
    file.rename(place)


_WRITERS: dict[tuple[str, str], Writer] = {
    ("keras", "Model"): _write_keras,
    ("torch", "ExportedProgram"): write_program,
    ("torch", "ScriptModule"): write_script,
    ("torch", "Module"): write_module,
}
"""Library and class -> what writes it."""
