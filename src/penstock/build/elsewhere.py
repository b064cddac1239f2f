"""A model in an environment of its own, examined from here: this process asks, the model answers behind the walls.

    file -> look (sandbox, ours) -> lock -> environment -> interview (sandbox, theirs) <- questions - examine_original

Its libraries are other versions than ours, so that nothing of it is loaded here, not in our sandbox either, and it is
not compiled: it is served as it is, in that environment. What comes back is arrays and JSON, checked before use.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np
import pandas as pd

from penstock import errors
from penstock.adapters import load
from penstock.build.declaration import Declaration
from penstock.build.examine import Examined, Laps, Looked, examine_original
from penstock.build.format import Original, Specs
from penstock.build.schema import infer_inputs
from penstock.build.torch.distant import DistantTorch
from penstock.build.torch.pickles import require_tensors
from penstock.build.transforming import Teaching, transform
from penstock.errors import BadConfig, InvalidInput, ModelFailed, PenstockError
from penstock.packages.archive import unpack
from penstock.runtime.frames import Header, Inbox, pack
from penstock.runtime.interview import LACKS, Interviewee, SelfPortrait
from penstock.runtime.limits import Quota
from penstock.runtime.process import Confined, died, receive
from penstock.runtime.sandbox import start_worker
from penstock.tensors import Arrays, TensorSpec

ENTRY = "penstock.runtime.interview:interview"
KINDS = frozenset({"sklearn", "skops", "lightgbm", "xgboost", "catboost", "python", "mlflow"})
"""Formats whose originals are Python; the others hold numbers alone, which need no environment."""
MAX_ANSWER_BYTES = 256 << 20
MAX_PORTRAIT_BYTES = 4 << 20
REASON = "it is not compiled: it runs in an environment of its own"


class ModelRaised(Exception):
    """An exception of the model's own; rows that it raises on are left out, as everywhere."""


class Interview:
    """A conversation with a model in its environment; to be used in a ``with`` statement.

    Args:
        task: Which model.
        python: Its environment's interpreter.
        scratch: The one folder that it may write to.
        patience_s: For all of it.

    Attributes:
        portrait: What the model says of itself.

    Raises:
        PenstockError: It cannot be loaded.
    """

    def __init__(self, task: Interviewee, python: Path, scratch: Path, patience_s: float) -> None:
        self._deadline = time.monotonic() + patience_s
        self._inbox = Inbox(MAX_ANSWER_BYTES)
        limits = Quota(time_s=patience_s, cpu_s=int(patience_s) + 2)
        arguments = msgspec.to_builtins(task)
        read = [Path(task.path)]
        self._confined: Confined = start_worker(
            ENTRY, arguments, read=read, scratch=scratch, python=python, limits=limits
        )
        try:
            self.portrait = self._introduced()
        except BaseException:
            self._confined.close()
            raise

    def __enter__(self) -> Interview:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._confined.close()

    def ask(self, specs: Sequence[TensorSpec], arrays: Arrays) -> Arrays:
        """Its answer to rows, in the package's conventions.

        Raises:
            ModelRaised: It raised.
            PenstockError: It answered what no package can, died, or took too long.
        """
        said = msgspec.json.encode(specs)
        try:
            self._wait()
            self._confined.channel.sendall(len(said).to_bytes(4, "little") + said)
            self._confined.channel.sendall(pack(Header(), arrays))
            header, answers = self._heard()
        except TimeoutError:
            raise _too_long() from None
        except (OSError, EOFError):
            raise died("the model", self._confined.close()) from None
        except ValueError as error:
            raise _nonsense() from error
        if header.refused:
            code = LACKS if header.refused == BadConfig.__name__ else "build.bad_answer"
            raise _as_error(header.refused, header.message, "", code)
        if header.failed:
            raise ModelRaised(f"{header.failed}: {header.message}")
        if not answers:
            raise _nonsense()
        return answers

    def _introduced(self) -> SelfPortrait:
        try:
            self._wait()
            said = receive(self._confined.channel, MAX_PORTRAIT_BYTES, deadline=self._deadline)
            portrait = msgspec.json.decode(said, type=SelfPortrait)
        except TimeoutError:
            raise _too_long() from None
        except (OSError, EOFError):
            raise died("the model", self._confined.close()) from None
        except (ValueError, RecursionError) as error:
            raise _nonsense() from error
        if portrait.refused:
            raise _as_error(portrait.refused, portrait.message, portrait.hint, portrait.code)
        if portrait.failed:
            raise ModelFailed(
                f"in its environment the model cannot be loaded: {portrait.failed}: {portrait.message}",
                "lock the versions that it was saved with",
                code="build.not_loaded",
            )
        return portrait

    def _heard(self) -> tuple[Header, Arrays]:
        while True:
            self._wait()
            frame = self._inbox.receive(self._confined.channel)
            if frame is not None:
                return frame

    def _wait(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        channel: socket.socket = self._confined.channel
        channel.settimeout(left)


class DistantModel:
    """Stands here for a model that is in its environment, with what it says of itself as an estimator has it.

    Attributes:
        by_column: It takes a DataFrame.
        feature_names_in_: The columns that it reads; empty for a plain matrix.
        n_features_in_: How many columns it takes; None where it does not say.
        classes_: Only there where it knows its classes.
    """

    def __init__(self, interview: Interview) -> None:
        said = interview.portrait
        self.by_column = said.by_column
        self.feature_names_in_ = said.columns
        self.n_features_in_ = said.width or None
        self._interview = interview
        if said.classes is not None:
            self.classes_ = np.asarray(said.classes, object if any(isinstance(x, str) for x in said.classes) else None)

    def answer_specs(self, specs: Sequence[TensorSpec], arrays: Arrays) -> Arrays:
        """What it says to rows; errors as `Interview.ask`."""
        return self._interview.ask(specs, arrays)


class DistantOriginal(Original):
    """A `DistantModel` as an `Original`: nothing of it can be compiled, and its thresholds are not seen."""

    def __init__(self, model: DistantModel) -> None:
        self._model = model

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """As it says; empty for a regression."""
        return tuple(getattr(self._model, "classes_", np.empty(0)).tolist())

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """Told from what it says of itself, and rows."""
        return infer_inputs(self._model, frame)

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """What the model says."""
        return self._model.answer_specs(inputs, rows)


def examine_elsewhere(
    file: Path,
    looked: Looked,
    frame: pd.DataFrame | None,
    *,
    python: Path,
    place: Path,
    patience_s: float,
    steps: tuple[Declaration, Teaching] | None = None,
) -> Examined:
    """Examine a model in its environment.

    Args:
        file: The model's file, or the archive of its files.
        looked: What it is.
        frame: Rows; None where there are none.
        python: Its environment's interpreter.
        place: An empty folder, and below it ``scratch`` for what the examination writes.
        patience_s: For all of it.
        steps: Declared around it, with what they learn from; None for none.

    Raises:
        PenstockError: It cannot be loaded there, lacks something, or answers what no package can.
    """
    clock = Laps()
    task = Interviewee(path=str(file.resolve()), kind=looked.kind, suffix=looked.suffix)
    (place / "interview").mkdir()
    with Interview(task, python, place / "interview", patience_s) as interview:
        clock.lap("load")
        original = _original(interview, file, looked, place)
        rows = getattr(original, "example", None) if frame is None else frame
        if rows is None:
            raise InvalidInput(
                "of a model in an environment of its own nothing is seen but its answers",
                "give some rows with --data",
                where="data",
            )
        if steps is not None:
            original = transform(original, steps[0], rows, steps[1])
        found = examine_original(original, rows, place / "scratch", clock)
    return msgspec.structs.replace(
        found,
        kind=looked.kind,
        suffix=looked.suffix,
        code=looked.code,
        parity=msgspec.structs.replace(found.parity, reason=REASON),
        seconds=clock.laps,
    )


def require_python(kind: str) -> None:
    """Refuse an environment for what needs none.

    Raises:
        BadConfig: The format holds numbers, which are computed here.
    """
    if kind not in KINDS:
        raise BadConfig(
            f"a model of the format {kind} needs no environment: it runs no library of its own",
            "package it without --environment",
            code="build.no_environment",
        )


def _original(interview: Interview, file: Path, looked: Looked, place: Path) -> Original:
    """The stand-in, held to what its format asks for."""
    if interview.portrait.needs:
        require_tensors(unpack(file, place / "weights"))
        return DistantTorch(interview.portrait, interview.ask)
    model = DistantModel(interview)
    original: Original = load("format", "python")().around(model) if interview.portrait.own else DistantOriginal(model)
    if looked.kind != "mlflow":
        return original
    folder = unpack(file, place / "logged")
    logged: Original = load("format", "mlflow")().around(original, folder)
    return logged


def _as_error(name: str, message: str, hint: str, code: str) -> PenstockError:
    kind = getattr(errors, name, None)
    known = kind if isinstance(kind, type) and issubclass(kind, PenstockError) else ModelFailed
    return known(message, hint, code=code)


def _nonsense() -> ModelFailed:
    return ModelFailed("the sandbox answered something else than was asked", code="build.bad_answer")


def _too_long() -> ModelFailed:
    return ModelFailed(
        "the model took longer than it may in the sandbox", "make it faster, or give fewer rows", code="runtime.timeout"
    )
