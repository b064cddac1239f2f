"""The python engine's processes: one that answers, one that waits loaded, so that a death costs a moment only.

current() -> SandboxedModel    the one that answers; the spare, or a new one, when it is gone
discard()              it died or hangs: the spare takes its place, a new spare starts in the background
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import NamedTuple

from penstock.errors import ModelFailed, PenstockError
from penstock.runtime.frames import Header, read_frame
from penstock.runtime.limits import Quota
from penstock.runtime.process import Confined, died, exactly
from penstock.runtime.sandbox import start_worker
from penstock.tensors import Arrays

_FRAME_S = 10.0
_ENTRY = "penstock.runtime.answering:serve"


class Recipe(NamedTuple):
    """How a worker is started.

    Attributes:
        name: The model's, for messages.
        load: A `penstock.runtime.answering.Load` as JSON objects.
        folder: What it may read: the package.
        python: Its environment's interpreter; None for this one.
        load_s: How long loading may take.
    """

    name: str
    load: object
    folder: Path
    python: Path | None
    limits: Quota
    load_s: float


class SandboxedModel:
    """One loaded process.

    Attributes:
        pid: Of the model process.
        busy_since: When it was handed what it is working on (``time.monotonic``); 0 while idle.
        most: Bytes that its answer may have; a hostile model must not fill this process's memory.
    """

    def __init__(self, confined: Confined, scratch: TemporaryDirectory[str]) -> None:
        self.pid = confined.pid
        self.busy_since = 0.0
        self.most = 0
        self._confined = confined
        self._scratch = scratch

    def alive(self) -> bool:
        """Whether its end of the socket is open, without waiting."""
        try:
            self._confined.channel.settimeout(0)
            return self._confined.channel.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def send(self, frame: bytes, limit_s: float) -> None:
        """Hand it a request.

        Raises:
            OSError: It is gone, or did not take it within `limit_s`.
        """
        self._confined.channel.settimeout(limit_s)
        self.busy_since = time.monotonic()
        try:
            self._confined.channel.sendall(frame)
        except TimeoutError:  # a frame sent by half is the end of the stream
            raise BrokenPipeError from None

    def receive(self, deadline: float) -> tuple[Header, Arrays]:
        """Wait for what it answers.

        Raises:
            TimeoutError: The deadline (``time.monotonic``) passed before the answer began; it may still come.
            EOFError: It is gone, or stopped in the middle.
            OSError: It is gone.
            ValueError: It sent no frame.
        """
        channel = self._confined.channel
        channel.settimeout(max(deadline - time.monotonic(), 1e-3))
        channel.recv(1, socket.MSG_PEEK)
        whole = time.monotonic() + _FRAME_S
        try:
            answered = read_frame(lambda length: exactly(channel, length, whole), most=self.most)
        except TimeoutError:
            raise EOFError from None
        self.busy_since = 0.0
        return answered

    def interrupt(self) -> None:
        """Have it ended while somebody waits for its answer."""
        self._confined.end()

    def end(self) -> ModelFailed:
        """End it, and tell how it ended."""
        ending = self._confined.close()
        self._scratch.cleanup()
        return died("the model", ending)


def start(recipe: Recipe) -> SandboxedModel:
    """Start a process and have it load the model.

    Raises:
        ModelFailed: The model cannot be loaded.
        BadConfig: This machine has too few walls.
    """
    scratch = TemporaryDirectory(prefix="penstock-")
    try:
        confined = start_worker(
            _ENTRY,
            recipe.load,
            read=[recipe.folder],
            scratch=Path(scratch.name),
            python=recipe.python,
            limits=recipe.limits,
        )
    except PenstockError:
        scratch.cleanup()
        raise
    worker = SandboxedModel(confined, scratch)
    try:
        header, _ = worker.receive(time.monotonic() + recipe.load_s)
    except TimeoutError:
        worker.end()
        raise ModelFailed(
            f"{recipe.name} took longer than {recipe.load_s:g} s to load", code="runtime.load_failed"
        ) from None
    except (OSError, EOFError, ValueError):
        ended = worker.end()
        raise ModelFailed(
            f"{recipe.name} died while it was loaded: {ended.message}", ended.hint, code="runtime.load_failed"
        ) from None
    if header.failed or header.refused:
        worker.end()
        why = f"{header.failed or header.refused}: {header.message}"
        raise ModelFailed(
            f"{recipe.name} cannot be loaded: {why}",
            "its environment may lack a package, or have another version",
            code="runtime.load_failed",
        )
    return worker


class Workers:
    """The one that answers, and its spare.

    Attributes:
        deaths: Workers that were found dead or had to be ended.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.deaths = 0
        self._recipe = recipe
        self._current: SandboxedModel | None = None
        self._spare: SandboxedModel | None = None
        self._starting: Thread | None = None
        self._error: PenstockError | None = None
        self._closed = False
        self._ever_loaded = False
        self._lock = Lock()

    @property
    def pid(self) -> int:
        """Process id of the one that answers; 0 while there is none."""
        current = self._current
        return current.pid if current else 0

    def current(self, deadline: float) -> SandboxedModel:
        """The one that answers, started or replaced where it has to be.

        Raises:
            TimeoutError: It was not ready before the deadline (``time.monotonic``).
            ModelFailed: No process can load the model.
            BadConfig: This machine has too few walls.
        """
        if self._closed:
            raise _closed()
        if self._current is not None and not self._current.alive():
            self.discard()
        second_try = False
        while self._current is None:
            try:
                self._current = self._take_spare(deadline)
            except ModelFailed:
                # A model that has been loaded before can be loaded: what died was killed, and nobody need see it.
                if second_try or not self._ever_loaded:
                    raise
                second_try = True
        self._ever_loaded = True
        return self._current

    def discard(self) -> ModelFailed:
        """End the one that answers; the answer tells how it died."""
        current, self._current = self._current, None
        if current is None:
            return ModelFailed("the model's process is gone")
        self.deaths += 1
        return current.end()

    def interrupt(self) -> None:
        """Say that all is over: whoever waits for an answer hears at once."""
        self._closed = True
        current = self._current
        if current:
            current.interrupt()

    def close(self) -> None:
        """End both, when nobody waits for an answer any more; more than once is harmless."""
        with self._lock:
            self._closed = True
            workers = self._current, self._spare
            self._current = self._spare = None
        for worker in workers:
            if worker:
                worker.end()

    def _take_spare(self, deadline: float) -> SandboxedModel | None:
        """The spare once it is loaded, or None if it died waiting; another starts in its place. Errors as `current`."""
        if self._spare is None and self._starting is None:
            self._prepare_spare()
        if self._starting is not None:
            self._starting.join(max(deadline - time.monotonic(), 0))
            if self._starting.is_alive():
                raise TimeoutError
        with self._lock:
            self._starting = None
            spare, self._spare = self._spare, None
            error, self._error = self._error, None
        if error is not None:
            raise error
        self._prepare_spare()
        if spare is not None and not spare.alive():
            spare.end()
            return None
        return spare

    def _prepare_spare(self) -> None:
        """Start a spare in the background."""
        self._starting = Thread(target=self._fill_spare, name="penstock-spare", daemon=True)
        self._starting.start()

    def _fill_spare(self) -> None:
        """Start a spare, or keep why it cannot be started for whoever needs it."""
        try:
            spare = start(self._recipe)
        except PenstockError as error:
            self._error = error
            return
        except OSError as error:
            self._error = ModelFailed(f"{self._recipe.name}: no process can be started: {error.strerror}")
            return
        with self._lock:
            if not self._closed:
                self._spare = spare
                return
        spare.end()


def _closed() -> ModelFailed:
    """Nobody asks a closed engine."""
    return ModelFailed("the engine is closed", code="runtime.closed")
