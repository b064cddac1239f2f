"""Stage 4, serve: an engine that counts its runs, whoever calls it.

Lane, Express --run--> MeteredEngine --> the engine; one line of counters more
"""

from __future__ import annotations

from time import perf_counter_ns

from penstock.runtime.engine import Engine
from penstock.serve.enginelines import EngineSeries
from penstock.tensors import Arrays


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

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()
