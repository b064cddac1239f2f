"""What a kind of model is to the matrix: how its owner makes it, and what its own framework says of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]
Asked = pd.DataFrame | Mapping[str, Array]


class Brought(NamedTuple):
    """A trained model and what it must answer.

    Attributes:
        model: What is handed over: a live object, or the path of a file or folder.
        data: Rows to package it with; None where it has to do without.
        asked: Rows to ask through HTTP: a table, or arrays by input.
        answers: What the framework itself says of them, by output; texts of labels for ``label``.
    """

    model: object
    data: pd.DataFrame | Array | Path | None
    asked: Asked
    answers: Mapping[str, Array]


class Kind(NamedTuple):
    """One line of the matrix.

    Attributes:
        name: What a person would call it.
        bring: Makes it in a folder of its own.
        tolerance: Largest error of a number, as a share of the largest number of its output.
    """

    name: str
    bring: Callable[[Path], Brought]
    tolerance: float = 1e-5
