"""The wish and an immutable revision of it: variants, limits, guards; and the steps on the way there."""

from __future__ import annotations

from typing import Literal

from penstock.records.record import Record, Scalar


class Variant(Record, frozen=True, kw_only=True):
    """A version with its share of an endpoint's traffic.

    Attributes:
        name: ``stable``, ``canary``, ``shadow``: what it is in this release.
        share: Of the routing keys, 0 to 1; the shares of an endpoint's answering variants add to 1.
        shadow: It gets a copy of every request and answers nobody.
    """

    name: str
    model: str
    version: int
    digest: str
    share: float = 1.0
    shadow: bool = False

    @property
    def ref(self) -> str:
        """``name@3``."""
        return f"{self.model}@{self.version}"


class Batching(Record, frozen=True, kw_only=True):
    """How a model's runs are formed; 0 leaves the choice to what was measured when it was loaded.

    Attributes:
        mode: ``inline`` runs on the event loop, ``thread`` beside it; ``auto`` chooses by the measured time of a run.
            A model in the sandbox is another process in any case.
        rows: Rows in one run, unless a single request has more.
        delay_s: How long an idle engine waits for more rows; 0 means that what comes first runs at once.
        wait_s: The longest a request may expect to wait for its turn, by the measured pace; beyond it `Overloaded`.
            Unless it is set: a second, or eight runs where they take longer.
        processes: Copies of a model in the sandbox that run at one time.
        hang_s: A run in the sandbox that takes longer hangs: its process is ended. 0 means the endpoint's deadline.
    """

    mode: Literal["auto", "inline", "thread"] = "auto"
    rows: int = 0
    delay_s: float = 0.0
    wait_s: float = 0.0
    processes: int = 1
    hang_s: float = 0.0


class Sizing(Record, frozen=True, kw_only=True):
    """How much of the machine an endpoint's answers may take at one time.

    Attributes:
        threads: Of one run of a compiled model.
        workers: Processes of its data plane, the most that any of its endpoints has; 0 leaves it to the settings.
        providers: ONNX Runtime's execution providers for a compiled model, the first choice first
            (``CUDAExecutionProvider``); empty means the processor. One that is not there is an error, and so is work
            that falls back to the processor where ``CPUExecutionProvider`` is not among them.
        allow_cpu: Falling back to the processor is no error.
    """

    threads: int = 1
    workers: int = 0
    providers: tuple[str, ...] = ()
    allow_cpu: bool = False


class Limits(Record, frozen=True, kw_only=True):
    """What the data plane holds an endpoint to.

    Attributes:
        deadline_s: Time budget of a request that names none.
        queue: Requests that may wait; beyond it `Overloaded`.
        max_rows: Rows in one request.
        log: ``normal`` syncs the inference log each second, ``strict`` before it answers, ``off`` never writes.
        no_rows: A request of no rows is answered with no rows (``answer``), or refused.
        nan: How JSON answers say a number that JSON does not have: ``null``, or ``token`` (NaN, Infinity).
        batching: Of its models; two routes with one model go by the first one's.
        sizing: Threads and processes; of threads the same holds.
    """

    deadline_s: float = 10.0
    queue: int = 1024
    max_rows: int = 10_000
    log: Literal["normal", "strict", "off"] = "normal"
    no_rows: Literal["refuse", "answer"] = "refuse"
    nan: Literal["null", "token"] = "null"
    batching: Batching = Batching()
    sizing: Sizing = Sizing()


class Guards(Record, frozen=True, kw_only=True):
    """What a rollout must not make worse, and how sure the decision has to be.

    Attributes:
        alpha: Chance of rolling back a harmless candidate, split among the tests, however often one looks.
        share: The candidate's first share of the routing keys.
        steps: Shares it passes through before all traffic is its own.
        min_units: Routing keys the candidate must have answered at each step.
        latency_s: An answer slower than this is an exceedance.
        margin: A ratio of harm up to which a candidate counts as no worse; twice that must be excluded before it is
            promoted.
        wait_s: A step lasts at least this long, by the exchanges' event time.
        floor: A failure on fewer than this part of the candidate's routing keys does not hold up its promotion.
        shift: How many times more often than the stable version's the candidate's scores may fall into a
            twentieth of the stable version's range: a retrained model moves its scores, a broken one piles them up.
    """

    alpha: float = 0.05
    share: float = 0.1
    steps: tuple[float, ...] = (0.1, 0.5)
    min_units: int = 100
    latency_s: float = 0.1
    margin: float = 1.1
    wait_s: float = 0.0
    floor: float = 0.02
    shift: float = 4.0


class Release(Record, frozen=True, kw_only=True):
    """The wish, and an immutable revision of it: what should run, where, and under which guards.

    `thresholds` (decision thresholds by class) and `monitors` (names to settings) go back with the
    variants when a release is rolled back: a rollback is of the whole release.
    """

    endpoint: str
    revision: int
    variants: tuple[Variant, ...]
    strategy: str = "at-once"
    target: str = "local"
    limits: Limits = Limits()
    guards: Guards = Guards()
    thresholds: dict[str, float] = {}
    monitors: dict[str, Scalar] = {}
    previous: int = 0
    reason: str = ""
    by: str = ""
    at: float = 0.0
    bypass: str = ""


class Step(Record, frozen=True, kw_only=True):
    """One turn of a rollout: the variants that should answer now, and why.

    Attributes:
        phase: ``warming`` (loading beside the old one), ``shifting`` (a share of the traffic),
            ``live`` (all of it), ``rolled_back``, ``failed``.
        variants: The shares to apply.
        reason: In words, for the log and the console.
        measured: The figures the step was decided on.
    """

    endpoint: str
    revision: int
    phase: Literal["warming", "shifting", "live", "rolled_back", "failed"]
    variants: tuple[Variant, ...]
    reason: str = ""
    measured: dict[str, Scalar] = {}
    at: float = 0.0
