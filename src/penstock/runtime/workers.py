"""The python engine's processes: one that answers, one that waits loaded, so that a death costs a moment only.

current() -> SandboxedModel    the one that answers; the spare, or a new one, when it is gone
discard()              it died or hangs: the spare takes its place, a new spare starts in the background
"""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import NamedTuple

from penstock.errors import ModelFailed, PenstockError
from penstock.packages.golden import Golden, check_golden
from penstock.runtime.frames import Header, Inbox, pack
from penstock.runtime.limits import Quota
from penstock.runtime.memory import available_bytes, require, resident_bytes
from penstock.runtime.process import Confined, died
from penstock.runtime.sandbox import start_worker
from penstock.tensors import Arrays

_FRAME_S = 10.0
_WATCH_S = 0.02
_QUIETLY_S = 0.2
"""How long somebody who needs a process lets it load behind everything else on this machine."""
_GOLDEN_BYTES = 64 << 20
_ENTRY = "penstock.runtime.answering:serve"
_KILLED = "runtime.killed"
_LOADS = 2
_LOADS_IF_KILLED = 5
"""How often a model that was loaded before is loaded for one request, and how often where somebody kills it at that."""


class Recipe(NamedTuple):
    """How a worker is started.

    Attributes:
        name: The model's, for messages.
        load: A `penstock.runtime.answering.Load` as JSON objects.
        folder: What it may read: the package.
        python: Its environment's interpreter; None for this one.
        load_s: How long loading may take.
        golden: Examples that a process has to answer right before it is asked for anything else.
    """

    name: str
    load: object
    folder: Path
    python: Path | None
    limits: Quota
    load_s: float
    golden: Golden | None = None


class SandboxedModel:
    """One loaded process.

    Attributes:
        pid: Of the model process.
        busy_since: When it was handed what it is working on (``time.monotonic``); 0 while idle.
        most: Bytes that its answer may have; a hostile model must not fill this process's memory.
        killed: Once it has ended: somebody outside killed it, it did not die of itself.
    """

    def __init__(self, confined: Confined, scratch: TemporaryDirectory[str]) -> None:
        self.pid = confined.pid
        self.busy_since = 0.0
        self.killed = False
        self._confined = confined
        self._channel = confined.channel
        self._scratch = scratch
        self._inbox = Inbox(0)
        self._unsent = memoryview(b"")
        self._patience: float | None = -1.0

    @property
    def most(self) -> int:
        """See above."""
        return self._inbox.most

    @most.setter
    def most(self, size: int) -> None:
        self._inbox.most = size

    def fileno(self) -> int:
        """Of its socket, for an event loop."""
        return self._channel.fileno()

    def alive(self) -> bool:
        """Whether its end of the socket is open, without waiting."""
        try:
            self._wait_at_most(0)
            return self._channel.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def offer(self, frame: bytes) -> bool:
        """Hand it a request without waiting; whether all of it left, else `go_on` sends the rest.

        Raises:
            OSError: It is gone.
        """
        self._wait_at_most(0)
        self.busy_since = time.monotonic()
        self._unsent = memoryview(frame)
        return self.go_on()

    @property
    def unsent(self) -> bool:
        """Whether a part of what `offer` began is still here."""
        return bool(self._unsent)

    def go_on(self) -> bool:
        """Send more of what `offer` began; whether that was all. Errors as `offer`."""
        try:
            self._unsent = self._unsent[self._channel.send(self._unsent) :]
        except BlockingIOError:
            return False
        return not self._unsent

    def look(self) -> tuple[Header, Arrays] | None:
        """What it answers, without waiting; None while that is not all there. Errors as `receive`."""
        self._wait_at_most(0)
        try:
            frame = self._inbox.receive(self._channel)
        except BlockingIOError:
            return None
        if frame is not None:
            self.busy_since = 0.0
        return frame

    def send(self, frame: bytes, limit_s: float) -> None:
        """Hand it a request.

        Raises:
            OSError: It is gone, or did not take it within `limit_s`.
        """
        self._wait_at_most(limit_s)
        self.busy_since = time.monotonic()
        try:
            self._channel.sendall(frame)
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
        frame = None
        whole = math.inf
        while frame is None:
            self._wait_at_most(max(min(deadline, whole) - time.monotonic(), 1e-3))
            try:
                frame = self._inbox.receive(self._channel)
            except TimeoutError:
                if not self._inbox.begun:
                    raise
                if time.monotonic() >= whole:
                    raise EOFError from None
            if math.isinf(whole):
                deadline = whole = time.monotonic() + _FRAME_S
        self.busy_since = 0.0
        return frame

    def stand_back(self) -> None:
        """Let everybody else go first."""
        self._confined.stand_back()

    def step_up(self) -> None:
        """No longer."""
        self._confined.step_up()

    def resident_bytes(self) -> int:
        """Memory that it holds now; 0 where that cannot be told."""
        return resident_bytes(self.pid)

    def cancel(self) -> None:
        """Have it stop what it works on: nobody waits for it any more."""
        with suppress(OSError):
            os.kill(self.pid, signal.SIGINT)

    def interrupt(self) -> None:
        """Have it ended while somebody waits for its answer."""
        self._confined.end()

    def end(self) -> ModelFailed:
        """End it, and tell how it ended."""
        ending = self._confined.close()
        self.killed = ending.code == -signal.SIGKILL and ending.reason != "threads"
        self._scratch.cleanup()
        return died("the model", ending)

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._patience:
            self._patience = seconds
            self._channel.settimeout(seconds)


def start(recipe: Recipe, began: Callable[[SandboxedModel], None]) -> SandboxedModel:
    """Start a process, have it load the model, and see it answer its golden examples.

    Args:
        recipe: How.
        began: Is given the process when it begins to load.

    Raises:
        ModelFailed: The model cannot be loaded, or answers something else.
        NotReady: It takes more memory than there is.
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
    began(worker)
    try:
        _wait_until_loaded(worker, recipe)
        _prove(worker, recipe)
    except (OSError, EOFError, ValueError):
        ended = worker.end()
        code = _KILLED if worker.killed else "runtime.load_failed"
        raise ModelFailed(f"{recipe.name} died while it was loaded: {ended.message}", ended.hint, code=code) from None
    except BaseException:
        worker.end()
        raise
    return worker


def _wait_until_loaded(worker: SandboxedModel, recipe: Recipe) -> None:
    """Wait for its first frame, and watch how much it takes meanwhile."""
    end = time.monotonic() + recipe.load_s
    free = available_bytes()
    while True:
        try:
            header, _ = worker.receive(min(end, time.monotonic() + _WATCH_S))
            break
        except TimeoutError:
            require(worker.resident_bytes(), recipe.name, known=False, available=free)
            if time.monotonic() >= end:
                raise ModelFailed(
                    f"{recipe.name} took longer than {recipe.load_s:g} s to load", code="runtime.load_failed"
                ) from None
    if header.failed or header.refused:
        why = f"{header.failed or header.refused}: {header.message}"
        raise ModelFailed(
            f"{recipe.name} cannot be loaded: {why}",
            "its environment may lack a package, or have another version",
            code="runtime.load_failed",
        )


def _prove(worker: SandboxedModel, recipe: Recipe) -> None:
    """Have it answer the golden examples."""
    if recipe.golden is None:
        return
    worker.most = _GOLDEN_BYTES
    worker.send(pack(Header(), recipe.golden.inputs), recipe.load_s)
    try:
        header, outputs = worker.receive(time.monotonic() + recipe.load_s)
    except TimeoutError:
        raise EOFError from None
    difference = header.failed or check_golden(recipe.golden, outputs)
    if difference:
        raise ModelFailed(
            f"{recipe.name} does not answer its golden examples: {difference}",
            "package the model again on this platform, or report a difference between machines",
            code="runtime.wrong_answer",
        )


class Spare:
    """One loaded process that waits for whoever loses theirs, and is replaced in the background once it is taken.

    Loading takes a processor for a second or more: it stands back for others, until somebody has waited for it.

    Attributes:
        recipe: How it is started.
        need_bytes: Memory that the largest one so far took when it was loaded and had answered.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.need_bytes = 0
        self._ready: SandboxedModel | None = None
        self._loading: SandboxedModel | None = None
        self._hurried = False
        self._starting: Thread | None = None
        self._error: PenstockError | None = None
        self._closed = False
        self._lock = Lock()

    def take(self, deadline: float) -> SandboxedModel | None:
        """It, once it is loaded; None if it died waiting, or another was quicker. Another starts in its place.

        Raises:
            TimeoutError: It was not ready before the deadline (``time.monotonic``).
            ModelFailed: No process can load the model.
            BadConfig: This machine has too few walls, or too little memory.
        """
        starting = self._prepare()
        if starting is not None:
            starting.join(min(max(deadline - time.monotonic(), 0), _QUIETLY_S))
            if starting.is_alive():
                self._hurry()
                starting.join(max(deadline - time.monotonic(), 0))
            if starting.is_alive():
                raise TimeoutError
        with self._lock:
            self._starting = None
            ready, self._ready = self._ready, None
            error, self._error = self._error, None
        if error is not None:
            raise error
        self._prepare()
        if ready is not None and not ready.alive():
            ready.end()
            return None
        return ready

    def close(self) -> None:
        """End it; nobody takes it any more."""
        with self._lock:
            self._closed = True
            ready, self._ready = self._ready, None
        if ready is not None:
            ready.end()

    def _prepare(self) -> Thread | None:
        """Start one in the background, unless one is there; the thread that is starting it."""
        with self._lock:
            if self._ready is None and self._starting is None and not self._closed:
                self._hurried = False
                self._starting = Thread(target=self._fill, name="penstock-spare", daemon=True)
                self._starting.start()
            return self._starting

    def _began(self, process: SandboxedModel) -> None:
        with self._lock:
            self._loading = process
            if not self._hurried:
                process.stand_back()

    def _hurry(self) -> None:
        """Somebody has waited for it long enough."""
        with self._lock:
            self._hurried = True
            if self._loading is not None:
                self._loading.step_up()

    def _fill(self) -> None:
        """Start one, or keep why it cannot be started for whoever needs it."""
        try:
            require(self.need_bytes, self.recipe.name, known=True)
            spare = start(self.recipe, self._began)
            spare.step_up()
            self.need_bytes = max(self.need_bytes, spare.resident_bytes())
        except PenstockError as error:
            self._error = error
            return
        except OSError as error:
            self._error = ModelFailed(f"{self.recipe.name}: no process can be started: {error.strerror}")
            return
        finally:
            self._loading = None
        with self._lock:
            if not self._closed:
                self._ready = spare
                return
        spare.end()


class Workers:
    """The one that answers, and the spare that takes its place.

    Attributes:
        deaths: Workers that were found dead or had to be ended.
        killed: Whether the last one was killed from outside.
    """

    def __init__(self, spare: Spare) -> None:
        self.deaths = 0
        self.killed = False
        self.spare = spare
        self._current: SandboxedModel | None = None
        self._closed = False
        self._ever_loaded = False

    @property
    def pid(self) -> int:
        """Process id of the one that answers; 0 while there is none."""
        current = self._current
        return current.pid if current else 0

    def idle(self) -> SandboxedModel | None:
        """The one that answers, if it waits for a request; it may have died since it was last heard of."""
        current = self._current
        return current if current is not None and not current.busy_since and not self._closed else None

    def current(self, deadline: float) -> SandboxedModel:
        """The one that answers, started or replaced where it has to be.

        Raises:
            TimeoutError: It was not ready before the deadline (``time.monotonic``).
            ModelFailed: No process can load the model.
            BadConfig: This machine has too few walls, or too little memory.
        """
        if self._closed:
            raise _closed()
        if self._current is not None and not self._current.alive():
            self.discard()
        loads = 0
        while self._current is None:
            if self._closed:
                raise _closed()
            try:
                self._current = self.spare.take(deadline)
            except ModelFailed as error:
                # A model that has been loaded before can be loaded: what died was killed, and nobody need see it.
                loads += 1
                if loads >= (_LOADS_IF_KILLED if error.code == _KILLED else _LOADS) or not self._ever_loaded:
                    raise
        self._ever_loaded = True
        return self._current

    def discard(self) -> ModelFailed:
        """End the one that answers; the answer tells how it died."""
        current, self._current = self._current, None
        if current is None:
            return ModelFailed("the model's process is gone")
        self.deaths += 1
        ended = current.end()
        self.killed = current.killed
        return ended

    def interrupt(self) -> None:
        """Say that all is over: whoever waits for an answer hears at once."""
        self._closed = True
        current = self._current
        if current:
            current.interrupt()

    def close(self) -> None:
        """End it, when nobody waits for an answer any more; more than once is harmless."""
        self._closed = True
        current, self._current = self._current, None
        if current:
            current.end()


def _closed() -> ModelFailed:
    """Nobody asks a closed engine."""
    return ModelFailed("the engine is closed", code="runtime.closed")
