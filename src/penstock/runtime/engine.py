"""The contract of everything that executes a package, and the proof that it does it right.

    package -> open_engine -> Engine -> prove (golden examples) -> ready

An engine answers conformed arrays with the signature's outputs. It serves one caller at a time; `inline` says
whether it is quick and safe enough to be called from an event loop.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from penstock import adapters
from penstock.errors import DeadlineExceeded, ModelFailed, PenstockError
from penstock.packages.golden import check_golden
from penstock.packages.read import Package
from penstock.records import Sizing
from penstock.tensors import Arrays

if TYPE_CHECKING:
    from penstock.runtime.sandboxedmodel import SandboxedModel


PROVE_S = 120.0
"""How long a graph may take to answer its golden examples, which are few, when it is loaded."""
ABANDONED = "runtime.abandoned"
"""Of the failure of a run that was ended because nobody waited for it."""


class Engine(Protocol):
    """What executes one package.

    Attributes:
        inline: It runs in this process, on standard operators alone: no hop, no code of the model's own. Whether a
            run is short enough for an event loop is for the caller to measure.
    """

    inline: bool

    def run(self, inputs: Arrays, *, timeout_s: float | None = None) -> Arrays:
        """Answer rows: conformed inputs to the signature's outputs, blocking.

        Args:
            inputs: One array an input of the signature, as `penstock.tensors.conform` gives them.
            timeout_s: The caller's remaining time; None for the engine's own limit.

        Raises:
            ModelFailed: The model raised, died twice on it, or answered something else than its signature says.
            DeadlineExceeded: The time ran out.
            NotReady: It rests after repeated deaths; the message says why and for how long.
        """

    def close(self) -> None:
        """Let go of processes, memory and files; more than once is harmless."""


@runtime_checkable
class Interruptible(Engine, Protocol):
    """An engine whose run another thread can end."""

    def abandon(self) -> None:
        """End the run that goes on, which then raises; with none going on, nothing happens."""


@runtime_checkable
class RemoteEngine(Engine, Protocol):
    """An engine in a process of its own, which an event loop can ask without waiting.

    Attributes:
        timeout_s: How long one run may take before its process counts as hanging.
    """

    timeout_s: float

    @property
    def need_bytes(self) -> int:
        """Memory that its processes take, the one that waits loaded among them."""

    def ask(self, inputs: Arrays) -> SandboxedModel | None:
        """Hand a request to the process that waits for one; None where `run` has to find one first."""

    def hear(self) -> Arrays | None:
        """The outputs of what was asked; None while they are not all there.

        Raises:
            ModelFailed: The model's own failure.
            EOFError: The process died; ValueError and OSError say the same.
        """

    def ask_again(self, requests: Sequence[Arrays], *, timeout_s: float | None = None) -> list[Arrays | PenstockError]:
        """After such a death: each part once more, alone; this waits."""

    def give_up(self) -> DeadlineExceeded:
        """End a process that hangs; this waits."""

    def recover(self) -> None:
        """Replace a process that ended, or spoke, while nobody asked it; this waits."""

    def idle(self) -> SandboxedModel | None:
        """The process that waits for a request."""

    def resting(self) -> str:
        """Why it does not answer just now, in a few words; empty when it does."""

    def twin(self) -> RemoteEngine:
        """Another process of the same model, of the same template; this waits."""

    def leave(self) -> None:
        """Close, but leave the template to the twins."""


class EngineType(Protocol):
    """What the adapters' ``engine`` table names: a class that opens engines."""

    def open(self, package: Package, environments: Path | None, *, sizing: Sizing | None = None) -> Engine:
        """Open a package's engine; of `sizing` it takes threads and providers, where it has any of its own."""


def open_engine(package: Package, *, environments: Path | None = None, sizing: Sizing | None = None) -> Engine:
    """Open the engine that the package's manifest names.

    Args:
        package: Verified by `penstock.packages.read.open_package`.
        environments: Folder of environments for models with locked dependencies; None runs them on this
            interpreter's packages.
        sizing: Threads of one run of a compiled graph, and the providers that run it.

    Raises:
        NotFound: The manifest names an engine that there is not.
        BadConfig: Its library is not installed, a provider is not here, or this machine has too few walls for a model
            that carries code.
        ModelFailed: The model cannot be loaded.
    """
    kind = cast("EngineType", adapters.load("engine", package.manifest.engine))
    return kind.open(package, environments, sizing=sizing)


def prove(engine: Engine, package: Package, *, within_s: float = PROVE_S) -> None:
    """Have the engine answer the package's golden examples.

    Args:
        engine: Just opened.
        package: What it opened.
        within_s: How long a run in this process may take; others have limits of their own.

    Raises:
        ModelFailed: It answers something else than the model did where it was trained, or does not come to an end.
        NotFound: The package has no golden examples.
    """
    golden = package.golden()
    try:
        with ended_after(engine, within_s):
            outputs = engine.run(golden.inputs)
    except ModelFailed as error:
        if error.code != ABANDONED:
            raise
        raise ModelFailed(
            f"{package.manifest.name} did not answer its golden examples within {within_s:g} s",
            "a graph that never ends does so for some rows at least: ask who made it",
            code="runtime.timeout",
        ) from error
    difference = check_golden(golden, outputs)
    if difference:
        raise ModelFailed(
            f"{package.manifest.name} does not answer its golden examples: {difference}",
            "package the model again on this platform, or report a difference between machines",
            code="runtime.wrong_answer",
        )


@contextmanager
def ended_after(engine: Engine, within_s: float) -> Iterator[None]:
    """A run inside ends after so long, where the engine can be told to."""
    if not isinstance(engine, Interruptible):
        yield
        return
    timer = threading.Timer(within_s, engine.abandon)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
