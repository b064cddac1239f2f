"""Stage 4, serve: an engine that counts its runs, whoever calls it.

Lane, Express --run--> MeteredEngine --> the engine; one line of counters more
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING

from penstock.errors import DeadlineExceeded, ModelFailed, PenstockError
from penstock.runtime.engine import Engine, Interruptible, RemoteEngine
from penstock.serve.enginelines import EngineSeries
from penstock.tensors import Arrays

if TYPE_CHECKING:
    from penstock.runtime.sandboxedmodel import SandboxedModel


class MeteredEngine:
    """Counts and passes on.

    Args:
        engine: Proven.

    Attributes:
        series: Where it counts; None while this worker has no counters yet.
        last_ns: What the last run took.
    """

    def __init__(self, engine: Engine) -> None:
        self.inline = engine.inline
        self.engine = engine
        self.series: EngineSeries | None = None
        self.last_ns = 0

    def run(self, inputs: Arrays, *, timeout_s: float | None = None) -> Arrays:
        """See `penstock.runtime.engine.Engine.run`; a run that failed is counted too."""
        start = perf_counter_ns()
        try:
            return self.engine.run(inputs, timeout_s=timeout_s)
        finally:
            self.last_ns = perf_counter_ns() - start
            if self.series is not None:
                self.series.ran(len(next(iter(inputs.values()))), self.last_ns)

    def abandon(self) -> None:
        """End the run that goes on, where the engine can."""
        if isinstance(self.engine, Interruptible):
            self.engine.abandon()

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


class MeteredRemoteEngine(MeteredEngine):
    """The same for an engine that an event loop asks without waiting.

    Args:
        engine: Proven.
        like: Whose series it counts in, too: a twin's.
    """

    def __init__(self, engine: RemoteEngine, like: MeteredRemoteEngine | None = None) -> None:
        super().__init__(engine)
        self._remote = engine
        self._like = like
        self._asked_ns = 0
        self._rows = 0

    @property
    def timeout_s(self) -> float:
        """See `penstock.runtime.engine.RemoteEngine`, as all that follows."""
        return self._remote.timeout_s

    @timeout_s.setter
    def timeout_s(self, seconds: float) -> None:
        self._remote.timeout_s = seconds

    @property
    def need_bytes(self) -> int:
        """Memory that its processes take."""
        return self._remote.need_bytes

    def ask(self, inputs: Arrays) -> SandboxedModel | None:
        """Hand a request over."""
        self._rows = len(next(iter(inputs.values())))
        self._asked_ns = perf_counter_ns()
        return self._remote.ask(inputs)

    def hear(self) -> Arrays | None:
        """Hear its answer, and count the run."""
        try:
            outputs = self._remote.hear()
        except ModelFailed:
            self._count()
            raise
        if outputs is not None:
            self._count()
        return outputs

    def ask_again(self, requests: Sequence[Arrays], *, timeout_s: float | None = None) -> list[Arrays | PenstockError]:
        """Ask once more, after a death."""
        return self._remote.ask_again(requests, timeout_s=timeout_s)

    def give_up(self) -> DeadlineExceeded:
        """End what hangs."""
        return self._remote.give_up()

    def recover(self) -> None:
        """Replace what ended while it was idle."""
        self._remote.recover()

    def idle(self) -> SandboxedModel | None:
        """The process that waits for a request."""
        return self._remote.idle()

    def resting(self) -> str:
        """Why it does not answer just now."""
        return self._remote.resting()

    def twin(self) -> MeteredRemoteEngine:
        """Another process of the same model."""
        return MeteredRemoteEngine(self._remote.twin(), self._like or self)

    def leave(self) -> None:
        """Close, but leave the spare to the twins."""
        self._remote.leave()

    def _count(self) -> None:
        self.last_ns = perf_counter_ns() - self._asked_ns
        series = (self._like or self).series
        if series is not None:
            series.ran(self._rows, self.last_ns)


def metered(engine: Engine) -> MeteredEngine:
    """An engine of either kind that counts its runs."""
    return MeteredRemoteEngine(engine) if isinstance(engine, RemoteEngine) else MeteredEngine(engine)
