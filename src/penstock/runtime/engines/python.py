"""Models that stay Python: the original in a sandboxed process with its own dependencies.

    run -> frame -> worker (another process, no network, no write) -> frame -> outputs

This side holds the request. A worker that dies is replaced by its spare and the request is asked once more
within its time; dying twice on one request is the model's fault. A worker that hangs is ended. Repeated
deaths make the engine rest, longer each time, so that a poisonous model costs its caller an error and the
machine nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from threading import Lock

import msgspec

from penstock.errors import DeadlineExceeded, ModelFailed, NotReady
from penstock.packages.read import Package
from penstock.runtime.environments import LOCK, environment
from penstock.runtime.frames import Header, Load, pack
from penstock.runtime.limits import Quota
from penstock.runtime.workers import Recipe, SandboxedModel, Workers
from penstock.tensors import DTYPES, Arrays, Signature

_DEATHS_BEFORE_REST = 3
_WINDOW_S = 60.0
_LOAD_S = 120.0
# What a row's answer may take: thousands of classes, or a long text.
_ROW_BYTES = 64 << 10
_LONGEST_REST_S = 60.0


class PythonEngine:
    """One model behind the sandbox's walls.

    Attributes:
        inline: Never: it is another process.
        timeout_s: How long one run may take before its worker counts as hanging and is ended.
        replays: Requests that were asked once more because their worker died.
        last_death: How the last one died, for the log.
    """

    inline = False

    def __init__(self, name: str, signature: Signature, workers: Workers) -> None:
        self.timeout_s = 10.0
        self.replays = 0
        self.last_death = ""
        self._name = name
        self._signature = signature
        self._workers = workers
        self._lock = Lock()
        self._id = 0
        self._failures: list[float] = []
        self._rests_until = 0.0

    @classmethod
    def open(cls, package: Package, environments: Path | None) -> PythonEngine:
        """Start the worker and load the model.

        Args:
            package: Its manifest's entry is the original model's file.
            environments: Where environments are kept; None uses this interpreter's packages as they are.

        Raises:
            ModelFailed: The model cannot be loaded.
            BadConfig: This machine has too few walls, or the environment cannot be had.
        """
        manifest = package.manifest
        python = None
        if environments is not None and LOCK in manifest.files:
            python = environment(package.path(LOCK), environments)
        load = Load(str(package.path(manifest.entry).resolve()), manifest.kind, manifest.signature)
        recipe = Recipe(manifest.name, msgspec.to_builtins(load), package.folder, python, Quota(), _LOAD_S)
        engine = cls(manifest.name, manifest.signature, Workers(recipe))
        engine._workers.current(time.monotonic() + recipe.load_s)
        return engine

    @property
    def deaths(self) -> int:
        """Workers that died, or were ended for hanging."""
        return self._workers.deaths

    @property
    def pid(self) -> int:
        """Process id of the worker that answers; 0 while there is none."""
        return self._workers.pid

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
        self._workers.interrupt()
        with self._lock:
            self._workers.close()

    def _require_rested(self) -> None:
        """Refuse while it rests."""
        rest = self._rests_until - time.monotonic()
        if rest > 0:
            raise NotReady(
                f"{self._name} rests for {rest:.0f} s: its process died again and again",
                "the log has the reason; roll back to an earlier version",
                code="runtime.resting",
            )

    def _ask(self, inputs: Arrays, deadline: float) -> Arrays:
        """Ask a worker, and once more if it dies."""
        self._id += 1
        frame = pack(Header(id=self._id), inputs)
        most = (1 + len(next(iter(inputs.values())))) * _ROW_BYTES
        try:
            header, outputs = self._exchange(frame, most, deadline)
        except (EOFError, ValueError, ConnectionError):
            self._bury()
            self.replays += 1
            try:
                header, outputs = self._exchange(frame, most, deadline)
            except (EOFError, ValueError, ConnectionError):
                ended = self._bury()
                self._note_failure()
                why = f"{self._name}: two processes died on one request; {ended.message}"
                raise ModelFailed(why, code="runtime.died") from None
        self._failures.clear()
        return self._checked(header, outputs)

    def _exchange(self, frame: bytes, most: int, deadline: float) -> tuple[Header, Arrays]:
        """Ask the worker that is free.

        Raises:
            DeadlineExceeded: The time ran out.
            EOFError: It died; ConnectionError and ValueError say the same.
        """
        try:
            worker = self._free_worker(deadline)
        except TimeoutError:
            raise _too_late() from None
        except ModelFailed:  # it cannot be loaded any more: no use in trying for every request
            self._note_failure()
            raise
        worker.most = most
        worker.send(frame, self.timeout_s)
        try:
            header, outputs = worker.receive(deadline)
        except TimeoutError:
            self._end_if_hung(worker)
            raise _too_late() from None
        if header.id != self._id:
            raise ValueError("the answer is another request's")
        return header, outputs

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
            except (EOFError, ValueError, ConnectionError):
                self._bury()
                worker = self._workers.current(deadline)
        return worker

    def _end_if_hung(self, worker: SandboxedModel) -> bool:
        """A caller's time is over; the worker is ended only when its own is over too."""
        if time.monotonic() - worker.busy_since < self.timeout_s * 0.99:
            return False
        self._bury()
        self.last_death = f"it did not answer within {self.timeout_s:g} s"
        self._note_failure()
        return True

    def _bury(self) -> ModelFailed:
        """Let go of a dead worker and tell how it died."""
        ended = self._workers.discard()
        self.last_death = ended.message
        return ended

    def _note_failure(self) -> None:
        """Rest after some failures within a minute, twice as long each time."""
        now = time.monotonic()
        self._failures = [at for at in self._failures if now - at < _WINDOW_S] + [now]
        over = len(self._failures) - _DEATHS_BEFORE_REST
        if over >= 0:
            self._rests_until = now + min(2.0**over, _LONGEST_REST_S)

    def _checked(self, header: Header, outputs: Arrays) -> Arrays:
        """The signature's outputs, or the model's failure."""
        if header.failed:
            raise ModelFailed(f"{self._name} raised {header.failed}: {header.message}")
        for spec in self._signature.outputs:
            array = outputs.get(spec.name)
            if array is None or array.dtype != DTYPES[spec.datatype] or array.ndim != len(spec.shape):
                raise ModelFailed(f"{self._name} answered something else than its signature at {spec.name}")
        return outputs


def _too_late() -> DeadlineExceeded:
    """The caller's time ran out."""
    return DeadlineExceeded("the model did not answer in time", "allow more time or send fewer rows")
