"""A process that has loaded a model and answers nobody: those that answer are forked from it, in milliseconds.

    take() -> SandboxedModel    forked from what is loaded, the first of them proven; None where it has died

Where none can be forked, what was loaded is handed out itself, and another is loaded in the background.
"""

from __future__ import annotations

import logging
import time
from threading import Lock, Thread

from penstock.errors import ModelFailed, PenstockError
from penstock.runtime.loading import Recipe, prove, start
from penstock.runtime.memory import require
from penstock.runtime.sandboxedmodel import SandboxedModel

_FORK_S = 10.0
_FORKS = 3
_LOG = logging.getLogger("penstock.runtime")


class CannotFork(Exception):
    """A template says why there will be no worker of it."""


def fork(template: SandboxedModel, deadline: float) -> SandboxedModel:
    """Have a process forked from one that has loaded.

    Raises:
        CannotFork: The template will not; OSError, EOFError and ValueError: it, or what it forked, died.
        TimeoutError: It did not within `deadline` (``time.monotonic``).
    """
    forked = template.fork()
    worker = SandboxedModel(forked)
    try:
        forked.know(deadline)
        worker.pid = forked.pid
        header, _ = worker.receive(deadline)
    except BaseException:
        worker.end()
        raise
    if header.refused:
        forked.channel.close()
        raise CannotFork(header.message[:200])
    return worker


class Template:
    """One loaded process from which those that answer are forked; another is loaded in the background once it is gone.

    Attributes:
        recipe: How it is started.
        loaded_bytes: Memory that the largest one so far took when it was loaded and had answered.
        unfit: Why none can be forked from it, so that each process is loaded by itself; empty where they can.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.loaded_bytes = 0
        self.unfit = ""
        self._loaded: SandboxedModel | None = None
        self._proven: SandboxedModel | None = None
        self._starting: Thread | None = None
        self._error: PenstockError | None = None
        self._closed = False
        self._lock = Lock()

    @property
    def pid(self) -> int:
        """Process id of the one that is loaded; 0 while there is none."""
        loaded = self._loaded
        return loaded.pid if loaded else 0

    def take(self, deadline: float) -> SandboxedModel | None:
        """A process that answers; None if what was loaded has died, or another was quicker.

        Raises:
            TimeoutError: There was none before the deadline (``time.monotonic``).
            ModelFailed: No process can load the model.
            BadConfig: This machine has too few walls, or too little memory.
        """
        starting = self._prepare()
        if starting is not None:
            starting.join(max(deadline - time.monotonic(), 0))
            if starting.is_alive():
                raise TimeoutError
        with self._lock:
            self._starting = None
            error, self._error = self._error, None
            if error is not None:
                raise error
            loaded = self._loaded
            worker = self._forked(loaded, deadline) if loaded is not None else None
            if worker is None:
                self._loaded = None
        if worker is None:
            self._prepare()
        if worker is not None or loaded is None:
            return worker
        if self.unfit and loaded.alive():
            return loaded
        loaded.end()
        return None

    def close(self) -> None:
        """End it; nobody is forked from it any more."""
        with self._lock:
            self._closed = True
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.end()

    def _forked(self, loaded: SandboxedModel, deadline: float) -> SandboxedModel | None:
        """One that was forked, the first of them proven; None where it cannot be had."""
        if self.unfit:
            return None
        until = time.monotonic() + _FORK_S
        for _ in range(_FORKS):
            try:
                worker = fork(loaded, min(deadline, until))
                if self._proven is not loaded:
                    self._prove(worker)
                    self._proven = loaded
            except CannotFork as error:
                self._give_up(str(error))
                return None
            except TimeoutError:
                if time.monotonic() < until:
                    raise  # it is the caller who has no time
                return None
            except OSError:
                return None
            except (EOFError, ValueError):
                continue  # where its keeper or the template is gone, the next time says so
            return worker
        if loaded.alive():
            self._give_up("what is forked from it dies")
        return None

    def _prove(self, worker: SandboxedModel) -> None:
        """Have the first fork answer the golden examples; what was held while it was forked may keep it from that."""
        began = time.monotonic()
        try:
            prove(worker, self.recipe, _FORK_S)
        except ModelFailed as error:
            worker.end()
            raise CannotFork(error.message) from None
        except (OSError, EOFError, ValueError):
            worker.end()
            if time.monotonic() - began >= _FORK_S:
                raise CannotFork("what is forked from it does not answer") from None
            raise EOFError from None

    def _give_up(self, why: str) -> None:
        self.unfit = why
        _LOG.warning("%s is loaded anew for each of its processes, none can be forked: %s", self.recipe.name, why)

    def _prepare(self) -> Thread | None:
        """Start one in the background, unless one is there; the thread that is starting it."""
        with self._lock:
            if self._loaded is None and self._starting is None and not self._closed:
                self._starting = Thread(target=self._fill, name="penstock-template", daemon=True)
                self._starting.start()
            return self._starting

    def _fill(self) -> None:
        """Start one, or keep why it cannot be started for whoever needs it."""
        try:
            require(self.loaded_bytes, self.recipe.name, known=True)
            loaded = start(self.recipe)
            self.loaded_bytes = max(self.loaded_bytes, loaded.resident_bytes())
        except PenstockError as error:
            self._error = error
            return
        except OSError as error:
            self._error = ModelFailed(f"{self.recipe.name}: no process can be started: {error.strerror}")
            return
        with self._lock:
            if not self._closed:
                self._loaded = loaded
                return
        loaded.end()
