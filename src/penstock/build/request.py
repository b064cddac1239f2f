"""What a person asks of the build: one frozen record instead of a dozen parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from penstock.build.declaration import Declaration
from penstock.packages.keys import PrivateKey
from penstock.records import Dataset, Declared, Scalar

Table = Path | pd.DataFrame | npt.NDArray[np.generic] | Mapping[str, npt.NDArray[np.generic]]
Progress = Callable[[str], None]


def silent(step: str) -> None:
    """Progress that nobody watches."""
    del step


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How a model becomes a package.

    Attributes:
        name: The model's name.
        out: Folder in which the package's folder is made, named by its digest.
        data: Rows the model was not trained on; examples, parity and profile come from them. None makes rows up
            from what the model itself knows, and leaves the profile out.
        labels: Column of `data` that holds the truth, or the truth itself, one entry a row; empty for none.
        parts: Further rows by part, ``train`` and ``test``, for declared steps to learn from.
        transforms: Steps declared before and behind the model; None for none.
        time: Column of `data` that holds event times; empty for none.
        key: Who signs; None leaves the package unsigned.
        datasets: References to the data behind the model.
        parameters: What the trainer says of it.
        source: Commit, repository, entry point.
        declared: What it is for, and who answers for it.
        providers: Execution providers that are to run its graph, the first choice first; empty for the processor.
        allow_cpu: Falling back from them to the processor is no error.
        parent: Digest of the package it grew out of.
        allow_code: Go on where the file names code beyond the allow-list; recorded in the manifest.
        requirements: What the model runs with: pip requirements, or a lock; None for what is installed here.
        prove_environment: Build the lock's environment and have the original answer the examples in it.
        environments: Folder of environments by their lock's digest; None keeps one below `out`.
        patience_s: Longest that the model may take in the sandbox, all steps together, in seconds.
        lock: Ask the package index for hashes of the pinned requirements.
        created_at: Seconds since the epoch; 0 for now.
        progress: Told the name of each step.
    """

    name: str
    out: Path
    data: Table | None = None
    labels: str | npt.NDArray[np.generic] = ""
    parts: Mapping[str, Table] = {}
    transforms: Declaration | None = None
    time: str = ""
    key: PrivateKey | None = None
    datasets: tuple[Dataset, ...] = ()
    parameters: dict[str, Scalar] = {}
    source: dict[str, str] = {}
    declared: Declared = Declared()
    providers: tuple[str, ...] = ()
    allow_cpu: bool = False
    parent: str = ""
    allow_code: bool = False
    requirements: Path | None = None
    prove_environment: bool = False
    environments: Path | None = None
    patience_s: float = 300.0
    lock: bool = True
    created_at: float = 0.0
    progress: Progress = silent
