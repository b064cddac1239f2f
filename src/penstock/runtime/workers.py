"""The python engine's processes: one that has loaded and answers nobody, and one forked from it that answers.

current() -> SandboxedModel    the one that answers; a new one, some milliseconds later, when it is gone
discard()                      it died or hangs

A model that cannot be forked answers where it was loaded, and another is loaded in the background to take its place.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import NamedTuple

from penstock.errors import ModelFailed, PenstockError, Untrusted
from penstock.packages.golden import Golden, check_golden
from penstock.packages.read import Package
from penstock.runtime.frames import Header, Inbox, pack
from penstock.runtime.limits import Quota
from penstock.runtime.memory import available_bytes, require, resident_bytes, unshared_bytes
from penstock.runtime.process import Confined, Forked, died
from penstock.runtime.sandbox import start_worker
from penstock.tensors import Arrays

_FRAME_S = 10.0
_WATCH_S = 0.02
_FORK_S = 10.0
_FORKS = 3
_LOG = logging.getLogger("penstock.runtime")
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
        package: What has to lie in the folder each time a process loads from there; None where nobody verified it.
    """

    name: str
    load: object
    folder: Path
    python: Path | None
    limits: Quota
    load_s: float
    golden: Golden | None = None
    package: Package | None = None


class SandboxedModel:
    """One loaded process.

    Attributes:
        pid: Of the model process.
        busy_since: When it was handed what it is working on (``time.monotonic``); 0 while idle.
        most: Bytes that its answer may have; a hostile model must not fill this process's memory.
        killed: Once it has ended: somebody outside killed it, it did not die of itself.
    """

    def __init__(self, confined: Confined | Forked, scratch: TemporaryDirectory[str] | None = None) -> None:
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

    def fork(self) -> Forked:
        """Order a process that has loaded what this one has.

        Raises:
            OSError: This one is gone.
            ValueError: It is one of those itself.
        """
        if isinstance(self._confined, Forked):
            raise ValueError("a worker has no workers")
        return self._confined.fork()

    def resident_bytes(self) -> int:
        """Memory that it holds now; 0 where that cannot be told."""
        return resident_bytes(self.pid)

    def cancel(self) -> None:
        """Have it stop what it works on: nobody waits for it any more."""
        self._confined.signal(signal.SIGINT)

    def interrupt(self) -> None:
        """Have it ended while somebody waits for its answer."""
        self._confined.end()

    def end(self) -> ModelFailed:
        """End it, and tell how it ended."""
        ending = self._confined.close()
        self.killed = ending.code == -signal.SIGKILL and ending.reason != "threads"
        if self._scratch is not None:
            self._scratch.cleanup()
        return died("the model", ending)

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._patience:
            self._patience = seconds
            self._channel.settimeout(seconds)


def start(recipe: Recipe) -> SandboxedModel:
    """Start a process, have it load the model, and see it answer its golden examples.

    Args:
        recipe: How.

    Raises:
        ModelFailed: The model cannot be loaded, answers something else, or its files were changed meanwhile.
        NotReady: It takes more memory than there is.
        BadConfig: This machine has too few walls.
    """
    verified = _verified(recipe)
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
        _wait_until_loaded(worker, recipe)
        _prove(worker, recipe, recipe.load_s)
        # The process read its files by their paths: what was verified before must still lie there after.
        _require_unchanged(verified, recipe)
    except (OSError, EOFError, ValueError):
        ended = worker.end()
        code = _KILLED if worker.killed else "runtime.load_failed"
        raise ModelFailed(f"{recipe.name} died while it was loaded: {ended.message}", ended.hint, code=code) from None
    except BaseException:
        worker.end()
        raise
    return worker


def _verified(recipe: Recipe) -> Package | None:
    """The package, verified again where something in its folder moved since."""
    try:
        return recipe.package.verified_again() if recipe.package is not None else None
    except Untrusted as error:
        raise _tampered(recipe, error) from error


def _require_unchanged(verified: Package | None, recipe: Recipe) -> None:
    try:
        if verified is not None:
            verified.require_unchanged()
    except Untrusted as error:
        raise _tampered(recipe, error) from error


def _tampered(recipe: Recipe, error: Untrusted) -> ModelFailed:
    return ModelFailed(f"{recipe.name}: {error}", "put the package back as it was", code=error.code)


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


def _prove(worker: SandboxedModel, recipe: Recipe, limit_s: float) -> None:
    """Have it answer the golden examples."""
    if recipe.golden is None:
        return
    worker.most = _GOLDEN_BYTES
    worker.send(pack(Header(), recipe.golden.inputs), limit_s)
    try:
        header, outputs = worker.receive(time.monotonic() + limit_s)
    except TimeoutError:
        raise EOFError from None
    difference = header.failed or check_golden(recipe.golden, outputs)
    if difference:
        raise ModelFailed(
            f"{recipe.name} does not answer its golden examples: {difference}",
            "package the model again on this platform, or report a difference between machines",
            code="runtime.wrong_answer",
        )


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
            _prove(worker, self.recipe, _FORK_S)
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


class Workers:
    """The one that answers, and the template from which the next is forked.

    Attributes:
        deaths: Workers that were found dead or had to be ended.
        killed: Whether the last one was killed from outside.
    """

    def __init__(self, template: Template) -> None:
        self.deaths = 0
        self.killed = False
        self.template = template
        self._current: SandboxedModel | None = None
        self._closed = False
        self._ever_loaded = False

    @property
    def pid(self) -> int:
        """Process id of the one that answers; 0 while there is none."""
        current = self._current
        return current.pid if current else 0

    @property
    def need_bytes(self) -> int:
        """Memory that the template and one that answers take at most, what they share counted once."""
        template, pid = self.template, self.pid
        if template.unfit or not template.pid:
            return 2 * max(template.loaded_bytes, resident_bytes(pid))
        return max(template.loaded_bytes, resident_bytes(template.pid)) + unshared_bytes(pid, template.pid)

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
                self._current = self.template.take(deadline)
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
