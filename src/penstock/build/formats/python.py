"""A person's own class, in an archive of its files: anything that has ``predict(rows)``.

It stays Python and runs in the sandbox, here as in serving. What it takes is told from example rows; what it answers
has to be the same again, and the same for a row alone as beside others.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from zipfile import BadZipFile, ZipFile

import numpy as np
import pandas as pd

from penstock.build.fidelity import require_faithful
from penstock.build.format import Audit, Original, Specs, head
from penstock.build.parity import compare, unsteady
from penstock.build.refusals import answer_those
from penstock.build.schema import infer_inputs, row_count, take, to_arrays
from penstock.build.sources import MLMODEL
from penstock.build.torch.model import TorchOriginal
from penstock.build.torch.pickles import require_tensors
from penstock.errors import InvalidInput, ModelFailed
from penstock.packages.archive import unpack
from penstock.runtime.original import answer, load_original
from penstock.runtime.ownclass import ENTRY, OwnClass
from penstock.runtime.torchmodel import TorchModel
from penstock.tensors import Arrays

ROWS = 32
MAX_CLASSES = 1000


class PythonFormat:
    """What `penstock.build.sources.archive_source` wrote of a class."""

    suffixes = (f"/{ENTRY}",)

    def sniff(self, path: Path) -> str:
        """An archive with the entry that is made when a class is named."""
        names = members(path)
        return self.suffixes[0] if ENTRY in names and MLMODEL not in names else ""

    def audit(self, path: Path) -> Audit:
        """All of it is code, which runs only where somebody named the class, or allowed it."""
        files = tuple(sorted(name for name in members(path) if name.endswith((".py", ".so", ".pyd"))))
        return Audit(names=files, refused=files)

    def open(self, path: Path) -> Original:
        """The instance; a module of PyTorch's with its weights."""
        folder = unpacked(path)
        model = load_original(folder / ENTRY, "python")
        if isinstance(model, TorchModel):
            require_tensors(folder)
            return TorchOriginal(model)
        assert isinstance(model, OwnClass)
        return ClassModel(model)

    def around(self, model: OwnClass) -> Original:
        """The same of an instance that is in an environment of its own."""
        return ClassModel(model)


class ClassModel(Original):
    """A person's class as an `Original`.

    Attributes:
        own: The instance.
    """

    def __init__(self, own: OwnClass) -> None:
        self.own = own
        self._seen: set[str | int] = set()

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """As it says; else those that it answered to any row; empty for a regression and for named outputs."""
        known = getattr(self.own, "classes_", None)
        if known is None:
            return tuple(sorted(self._seen))
        whole = known.dtype.kind == "f" and bool(np.all(known == np.round(known)))
        values = (known.astype(np.int64) if whole else known).tolist()
        return tuple(one if isinstance(one, str | int | bool) else str(one) for one in values)

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """One input a column where it takes a DataFrame, else one matrix.

        Raises:
            InvalidInput: There are no rows to tell from, they lack a column, or a matrix cannot hold them.
            ModelFailed: Its answers change from one time to the next, or hang on the rows beside.
        """
        own = self.own
        if frame is None:
            raise InvalidInput("a class does not say what it takes", "give some rows with --data", where="data")
        names = own.feature_names_in_ or tuple(map(str, frame.columns))
        lacking = [name for name in names if name not in frame.columns]
        if lacking:
            raise InvalidInput(
                f"the data lacks columns that the class reads: {', '.join(lacking[:8])}",
                "give the columns that its attribute `columns` names",
                where="data",
            )
        frame = frame[list(names)]
        if own.by_column:
            own.feature_names_in_ = names
            inputs = infer_inputs(own, frame)
            require_faithful(own, inputs, frame)
        else:
            _require_numbers(frame)
            own.feature_names_in_ = ()
            inputs = infer_inputs(own, frame)
        self._require_steady(inputs, frame)
        return inputs

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """What it says."""
        answers = answer(self.own, inputs, rows)
        if "label" in answers and "classes_" not in vars(self.own):
            self._note(answers)
        return answers

    def _note(self, answers: Arrays) -> None:
        """The classes of a class that does not name them."""
        self._seen.update(np.unique(answers["label"].astype(object)).tolist())
        chances = answers.get("probabilities")
        if chances is not None:
            if not self._seen <= set(range(chances.shape[1])):
                raise ModelFailed(
                    "the class has predict_proba and does not say which class each column is",
                    "give it classes_: a list of labels in the columns' order",
                    code="build.no_classes",
                )
            self._seen = set(range(chances.shape[1]))
        if len(self._seen) > MAX_CLASSES:
            raise ModelFailed(
                f"the class answers more than {MAX_CLASSES} different labels",
                "if these are texts and no classes, answer a dict: {'text': [...]}",
                code="build.no_classes",
            )

    def _require_steady(self, inputs: Specs, frame: pd.DataFrame) -> None:
        """Ask again, and each row alone; rows that it refuses are told elsewhere."""

        def ask(part: Arrays) -> Arrays:
            return self.answer(inputs, part)

        rows = take(to_arrays(frame, inputs), slice(0, ROWS))
        found = answer_those(ask, rows)
        if not len(found.kept):
            return
        rows = take(rows, found.kept)
        origins = [f"row {at}" for at in found.kept]
        again = compare(found.answers, answer_those(ask, rows).answers, origins)
        if not again.passed:
            raise ModelFailed(
                f"asked again, the class answers otherwise: {again.reason.replace('the graph', 'the class')}",
                "take chance, the clock and what it remembers out of predict",
                code="build.unsteady",
            )
        why = unsteady(ask, rows, found.answers) or _one_by_one(ask, rows, found.answers)
        if why:
            raise ModelFailed(
                f"the class {why}",
                "let each answer hang on its own row alone, or set row_by_row = True: then it gets one row at a time",
                code="build.unsteady",
            )


def members(path: Path) -> frozenset[str]:
    """Names in an archive; none of what is no zip."""
    if not head(path).startswith(b"PK\x03\x04"):
        return frozenset()
    try:
        with ZipFile(path) as archive:
            return frozenset(archive.namelist())
    except (BadZipFile, OSError, ValueError):
        return frozenset()


def unpacked(path: Path) -> Path:
    """The archive's files in a fresh temporary folder, which is the sandbox's scratch."""
    return unpack(path, Path(mkdtemp(prefix="model-")) / "original")


def _one_by_one(ask: object, rows: Arrays, answers: Arrays) -> str:
    """Which row is answered otherwise alone; empty where none is."""
    assert callable(ask)
    for at in range(row_count(rows)):
        part = slice(at, at + 1)
        alone = compare(take(answers, part), ask(take(rows, part)), [f"row {at}"])
        if not alone.passed:
            return f"answers a row alone as it does not among others: {alone.reason}"
    return ""


def _require_numbers(frame: pd.DataFrame) -> None:
    """What one matrix can hold."""
    text = [str(name) for name in frame if frame[name].dtype.kind not in "iufb"]
    if text:
        raise InvalidInput(
            f"the class takes an array, and there is no number in {', '.join(text[:8])}",
            "annotate predict's argument with pd.DataFrame, or name its columns in `columns`",
            where="data",
        )
