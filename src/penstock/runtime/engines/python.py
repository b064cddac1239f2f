"""Models that stay Python: the original in a sandboxed process with its own dependencies.

    run -> frame -> worker (another process, no network, no write) -> frame -> outputs     (waits for each step)
    ask -> frame -> worker ... its socket is readable: hear -> outputs                     (never waits)

This side holds the request. A worker that dies is replaced by another and the request is asked once more
within its time; dying twice on one request is the model's fault. A worker that hangs is ended. The third crash
within a minute makes the engine rest, longer each time, so that a poisonous model costs its caller an error and
the machine nothing. A process that somebody killed from outside is no crash.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import msgspec

from penstock.errors import DeadlineExceeded, ModelFailed, NotFound, NotReady, PenstockError
from penstock.packages.golden import Golden
from penstock.packages.read import Package
from penstock.records import Sizing
from penstock.runtime.environments import ENVIRONMENT, LOCK, environment, require_here
from penstock.runtime.frames import Header, Load, pack
from penstock.runtime.limits import Quota
from penstock.runtime.loading import Recipe
from penstock.runtime.sandboxedmodel import SandboxedModel
from penstock.runtime.template import Template
from penstock.runtime.transform import TRANSFORMS
from penstock.runtime.workers import Workers
from penstock.tensors import DTYPES, Arrays, Signature

_CRASHES_BEFORE_REST = 3
_DIED = (EOFError, ValueError, ConnectionError)
_WINDOW_S = 60.0
_LOAD_S = 120.0
_ROW_BYTES = 64 << 10
"""What a row's answer may take: thousands of classes, or a long text."""
_BODY_BYTES = 8 << 20
"""The same where text is all that it answers: a handler's whole body, an image perhaps."""
_LONGEST_REST_S = 60.0
_NONSENSE = "answered what is no answer"
_ENDINGS = {"runtime.memory": "ran out of memory", "runtime.threads": "started too many threads"}


class PythonEngine:
    """One model behind the sandbox's walls.

    Attributes:
        inline: Never: it is another process.
        timeout_s: How long one run may take before its worker counts as hanging and is ended.
        replays: Requests that were asked once more because their worker died.
        last_death: How the last one died, for the log.
        reason: The same in a few words of ours, for people who may not read the log.
    """

    inline = False

    def __init__(self, name: str, signature: Signature, workers: Workers) -> None:
        self.timeout_s = 10.0
        self.replays = 0
        self.last_death = ""
        self.reason = ""
        self._name = name
        self._signature = signature
        texts_alone = all(spec.datatype == "BYTES" for spec in signature.outputs)
        self._row_bytes = _BODY_BYTES if texts_alone else _ROW_BYTES
        self._outputs = [(spec.name, DTYPES[spec.datatype], len(spec.shape)) for spec in signature.outputs]
        self._workers = workers
        self._lock = Lock()
        self._id = 0
        self._asked: SandboxedModel | None = None
        self._crashes: list[float] = []
        self._rests_until = 0.0

    @classmethod
    def open(cls, package: Package, environments: Path | None, *, sizing: Sizing | None = None) -> PythonEngine:
        """Start the worker and load the model.

        Args:
            package: Its manifest's entry is the original model's file.
            environments: Where environments are kept; None uses this interpreter's packages as they are.
            sizing: Not used: processes are what a model in the sandbox has more of.

        Raises:
            ModelFailed: The model cannot be loaded, or its files were changed meanwhile.
            Untrusted: They were changed before that.
            NotReady: There is too little memory for it.
            BadConfig: This machine has too few walls, or the environment cannot be had.
        """
        del sizing
        manifest = package.manifest
        python = None
        if environments is not None and LOCK in manifest.files:
            python = environment(package.path(LOCK), environments)
        elif ENVIRONMENT in manifest.source:
            require_here(package.path(LOCK))
        package.require_unchanged()
        steps = str(package.path(TRANSFORMS).resolve()) if TRANSFORMS in manifest.files else ""
        load = Load(str(package.path(manifest.entry).resolve()), manifest.kind, manifest.signature, steps)
        recipe = Recipe(
            manifest.name,
            msgspec.to_builtins(load),
            package.folder,
            python,
            Quota(),
            _LOAD_S,
            _golden(package),
            package,
        )
        engine = cls(manifest.name, manifest.signature, Workers(Template(recipe)))
        try:
            engine.recover()
        except BaseException:
            engine.close()
            raise
        return engine

    def twin(self) -> PythonEngine:
        """Another process of the same model, of the same template; errors as `open`."""
        twin = type(self)(self._name, self._signature, Workers(self._workers.template))
        twin.timeout_s = self.timeout_s
        twin.recover()
        return twin

    @property
    def deaths(self) -> int:
        """Workers that died, or were ended for hanging."""
        return self._workers.deaths

    @property
    def pid(self) -> int:
        """Process id of the worker that answers; 0 while there is none."""
        return self._workers.pid

    @property
    def need_bytes(self) -> int:
        """Memory that its processes take."""
        return self._workers.need_bytes

    def run(self, inputs: Arrays, *, timeout_s: float | None = None) -> Arrays:
        """Answer rows; see `penstock.runtime.engine.Engine.run`."""
        start = time.monotonic()
        deadline = start + (self.timeout_s if timeout_s is None else timeout_s)
        if not self._lock.acquire(timeout=max(deadline - start, 0)):
            raise _too_late()
        try:
            self._require_rested()
            return self._ask(inputs, deadline)
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the processes; a run that is under way fails."""
        self.leave()
        self._workers.template.close()

    def leave(self) -> None:
        """End the process, and leave the template to the twins."""
        self._workers.interrupt()
        if self._asked is not None:  # nobody hears its answer any more
            self._workers.close()
            return
        with self._lock:
            self._workers.close()

    def resting(self) -> str:
        """Why it does not answer just now, in a few words; empty when it does."""
        rest = self._rests_until - time.monotonic()
        return f"rests for {rest:.0f} s: its process {self.reason}" if rest > 0 else ""

    # -- for an event loop: nothing here waits, and the lock is held from `ask` until the answer was heard

    def ask(self, inputs: Arrays) -> SandboxedModel | None:
        """Hand a request to the process that waits for one.

        Returns:
            The process whose socket tells when to `hear`; None where `run` has to find one first.
        """
        if not self._lock.acquire(blocking=False):
            return None
        worker = self._workers.idle()
        if worker is None or self._rests_until > time.monotonic():
            self._lock.release()
            return None
        self._id += 1
        worker.most = (1 + len(next(iter(inputs.values())))) * self._row_bytes
        try:
            worker.offer(pack(Header(self._id), inputs))
        except OSError:
            self._lock.release()
            return None
        self._asked = worker
        return worker

    def hear(self) -> Arrays | None:
        """The outputs of the request that was asked; None while they are not all there.

        Raises:
            ModelFailed: The model raised, or answered something else than its signature says.
            EOFError: The process died: `ask_again`. ValueError and OSError say the same.
        """
        worker = self._asked
        try:
            frame = worker.look() if worker is not None else None
            if frame is None:
                return None
            header, outputs = self._mine(frame)
        except ValueError:
            self._note_crash(_NONSENSE)
            raise
        self._asked = None
        self._lock.release()
        return self._checked(header, outputs)

    def ask_again(self, requests: Sequence[Arrays], *, timeout_s: float | None = None) -> list[Arrays | PenstockError]:
        """After `hear` told of a death: what was asked in one go once more, each part alone; this waits."""
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        try:
            self._bury()
            self.replays += 1
            return [self._last_try(inputs, deadline) for inputs in requests]
        finally:
            self._asked = None
            self._lock.release()

    def give_up(self) -> DeadlineExceeded:
        """After `timeout_s` without an answer: end the process, and say so; this waits."""
        try:
            self._end_hung()
            return _too_late()
        finally:
            self._asked = None
            self._lock.release()

    def recover(self) -> None:
        """Have a process ready again after one ended, or spoke, while nobody asked it; this waits."""
        with self._lock:
            worker = self._workers.idle()
            if worker is not None:
                if worker.alive():
                    self._note_crash("spoke out of turn")
                self._bury()
            self._workers.current(time.monotonic() + self._workers.template.recipe.load_s)

    def idle(self) -> SandboxedModel | None:
        """The process that waits for a request."""
        return self._workers.idle()

    # -- with the lock held

    def _require_rested(self) -> None:
        """Refuse while it rests."""
        why = self.resting()
        if why:
            raise NotReady(
                f"{self._name} {why} again and again",
                "the log has the reason; roll back to an earlier version",
                code="runtime.resting",
            )

    def _ask(self, inputs: Arrays, deadline: float) -> Arrays:
        """Ask a worker, and once more if it dies."""
        try:
            return self._exchange(inputs, deadline)
        except _DIED:
            self._bury()
        self.replays += 1
        result = self._last_try(inputs, deadline)
        if isinstance(result, PenstockError):
            raise result
        return result

    def _last_try(self, inputs: Arrays, deadline: float) -> Arrays | PenstockError:
        """Ask for what a process has died on already."""
        try:
            self._require_rested()
            return self._exchange(inputs, deadline)
        except PenstockError as error:
            return error
        except _DIED as error:
            ended = self._bury()
            if self._workers.killed and not isinstance(error, ValueError):
                self._note_crash("was killed")
            return ModelFailed(f"{self._name}: two processes died on one request; {ended.message}", code="runtime.died")

    def _exchange(self, inputs: Arrays, deadline: float) -> Arrays:
        """Ask the worker that is free.

        Raises:
            DeadlineExceeded: The time ran out.
            ModelFailed: It raised, or answered something else than the signature says.
            EOFError: It died; ConnectionError and ValueError say the same.
        """
        self._id += 1
        try:
            worker = self._free_worker(deadline)
        except TimeoutError:
            raise _too_late() from None
        except ModelFailed:  # it cannot be loaded any more: no use in trying for every request
            self._note_crash("cannot be loaded any more")
            raise
        worker.most = (1 + len(next(iter(inputs.values())))) * self._row_bytes
        worker.send(pack(Header(self._id), inputs), self.timeout_s)
        try:
            header, outputs = self._mine(worker.receive(min(deadline, worker.busy_since + self.timeout_s)))
        except TimeoutError:
            self._end_if_hung(worker)
            raise _too_late() from None
        except ValueError:
            self._note_crash(_NONSENSE)
            raise
        return self._checked(header, outputs)

    def _free_worker(self, deadline: float) -> SandboxedModel:
        """A worker that waits for a request; one that is late with an earlier answer is waited for, then ended."""
        worker = self._workers.current(deadline)
        while worker.busy_since:
            try:
                worker.receive(min(deadline, worker.busy_since + self.timeout_s))
            except TimeoutError:
                if not self._end_if_hung(worker):
                    raise
                worker = self._workers.current(deadline)
            except _DIED:
                self._bury()
                worker = self._workers.current(deadline)
        return worker

    def _end_if_hung(self, worker: SandboxedModel) -> bool:
        """A caller's time is over; the worker is ended only when its own is over too."""
        if time.monotonic() - worker.busy_since < self.timeout_s * 0.99:
            return False
        self._end_hung()
        return True

    def _end_hung(self) -> None:
        self._workers.discard()
        self.last_death = f"it did not answer within {self.timeout_s:g} s"
        self._note_crash("did not answer in time")

    def _bury(self) -> ModelFailed:
        """Let go of a dead worker and tell how it died; one that was killed from outside is not held against it."""
        ended = self._workers.discard()
        self.last_death = ended.message
        if not self._workers.killed:
            self._note_crash(_ENDINGS.get(ended.code, "crashed"))
        return ended

    def _note_crash(self, reason: str) -> None:
        """Rest after some crashes within a minute, twice as long each time."""
        now = time.monotonic()
        self.reason = reason
        self._crashes = [at for at in self._crashes if now - at < _WINDOW_S] + [now]
        over = len(self._crashes) - _CRASHES_BEFORE_REST
        if over >= 0:
            self._rests_until = now + min(2.0**over, _LONGEST_REST_S)

    def _mine(self, frame: tuple[Header, Arrays]) -> tuple[Header, Arrays]:
        """The frame, if it answers what was asked."""
        if frame[0].id != self._id:
            raise ValueError("the answer is another request's")
        return frame

    def _checked(self, header: Header, outputs: Arrays) -> Arrays:
        """The signature's outputs, or the model's failure."""
        if header.failed:
            raise ModelFailed(f"{self._name} raised {header.failed}: {header.message}")
        for name, dtype, rank in self._outputs:
            array = outputs.get(name)
            if array is None or array.dtype != dtype or array.ndim != rank:
                raise ModelFailed(f"{self._name} answered something else than its signature at {name}")
        return outputs


def _golden(package: Package) -> Golden | None:
    """What every new process has to answer right before it is asked for anything else."""
    try:
        return package.golden()
    except NotFound:
        return None


def _too_late() -> DeadlineExceeded:
    """The caller's time ran out."""
    return DeadlineExceeded("the model did not answer in time", "allow more time or send fewer rows")
