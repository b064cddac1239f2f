"""The contract of a model format: how a trained model's file is recognised, audited and opened.

    bytes -> sniff -> audit (runs nothing) -> open (sandbox only) -> Original: answers, and graphs to compile to

To add one: a file in ``formats/`` with a class that has these three verbs, one line in `penstock.adapters`;
``tests/contracts/test_format.py`` then runs over it. All of it happens inside the sandbox: not even which format a
file has is decided in the process that holds keys.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import pandas as pd

from penstock.adapters import TABLE, load
from penstock.errors import BadConfig, InvalidInput
from penstock.tensors import Arrays, TensorSpec

HEAD_BYTES = 1 << 20
"""More than a block of bz2, which cannot be opened in part."""
Specs = tuple[TensorSpec, ...]
Compiled = Callable[[], bytes]


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What a file would run if it were loaded, found without running it.

    Attributes:
        names: Everything it names: ``module.attribute`` of code, domains of operators.
        refused: Those of them that are not on the allow-list.
    """

    names: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


class Original(Protocol):
    """A loaded model behind the package's conventions; one that does not compile inherits the last two."""

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """Class labels in the order of the probabilities; empty for a regression."""

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """What it takes, told from itself and from rows where there are any."""

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """``label``, ``probabilities`` or ``scores``; ``prediction`` of a regression."""

    def graphs(self, inputs: Specs, outputs: Specs) -> Iterator[Compiled]:
        """Ways to compile it to ONNX, the most exact first; each may raise when called. None of its own accord."""
        del inputs, outputs
        return iter(())

    def edges(self, inputs: Specs, rows: Arrays) -> Arrays | None:
        """Complete rows moved next to its decision thresholds; None where it has none."""
        del inputs, rows
        return None


class ModelFormat(Protocol):
    """One kind of model file."""

    suffixes: tuple[str, ...]
    """What the file may be called in a package: ``model/original`` and one of these; loaders go by it."""

    def sniff(self, path: Path) -> str:
        """Its suffix if the content is of this kind, else nothing; the file's own name does not count."""

    def audit(self, path: Path) -> Audit:
        """What loading it would run; nothing is run to find out."""

    def open(self, path: Path) -> Original:
        """The model, after the audit."""


def detect(path: Path) -> tuple[str, ModelFormat, str]:
    """The format of a file, by its content: its name in the adapters' table, itself, and the file's suffix.

    Raises:
        InvalidInput: No known format.
        BadConfig: One that needs a library which is not installed.
    """
    missing: list[BadConfig] = []
    for name in TABLE["format"]:
        try:
            known: ModelFormat = load("format", name)()
        except BadConfig as error:
            missing.append(error)
            continue
        suffix = known.sniff(path)
        if suffix:
            return name, known, suffix
    hint = "known are joblib, pickle, skops, LightGBM's and XGBoost's own files, ONNX, PyTorch's and TensorFlow's"
    if missing:
        raise BadConfig("the file is of no format that is installed here", f"{missing[0].hint}; {hint}")
    raise InvalidInput("the file is no model of a known format", hint, code="build.unknown_format")


def with_suffix(path: Path, suffix: str) -> Path:
    """The file under a name that its library's loader understands, copied into the scratch folder if need be."""
    if path.suffix == suffix:
        return path
    return Path(shutil.copyfile(path, Path.cwd() / f"model{suffix}"))


def head(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
