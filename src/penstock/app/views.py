"""What the control plane last saw of every endpoint, for people to look at: the console, `status`, `watch`.

Derived, never the truth: the control plane rebuilds it from the inference log and writes it to
``run/observed.json`` about once a second; the registry's events stay the record of what was decided.
"""

from __future__ import annotations

from pathlib import Path

from penstock.errors import Corrupt
from penstock.records import Measurement, Record, decode, encode


class Series(Record, frozen=True, kw_only=True):
    """A curve: values over time (seconds since the epoch), equally long, oldest first."""

    at: tuple[float, ...] = ()
    values: tuple[float, ...] = ()


class VariantView(Record, frozen=True, kw_only=True):
    """What one version answered under one variant's name; latencies in seconds."""

    name: str
    model: str
    version: int
    share: float
    shadow: bool = False
    requests: int = 0
    errors: int = 0
    p50_s: float = 0.0
    p99_s: float = 0.0


class ColumnDrift(Record, frozen=True, kw_only=True):
    """How far a column moved in the last closed window: bias-corrected PSI against its own limit."""

    column: str
    psi: float
    limit: float
    moved: bool
    importance: float = 0.0


class QualityPoint(Record, frozen=True, kw_only=True):
    """One window: the label-free estimate beside what the outcomes showed, each with its band.

    `realised` is NaN-free: None until enough outcomes came. `valid` turns False once outcomes reject the
    estimate's assumption, which is printed beside it.
    """

    at: float
    rows: int
    metric: str
    estimated: float | None = None
    estimated_low: float | None = None
    estimated_high: float | None = None
    realised: float | None = None
    realised_low: float | None = None
    realised_high: float | None = None
    valid: bool = True


class CalibrationPoint(Record, frozen=True, kw_only=True):
    """One bin of scores: what was predicted on average, how often it came true, out of how many."""

    predicted: float
    observed: float
    count: int


class EndpointView(Record, frozen=True, kw_only=True):
    """One endpoint as the control plane sees it.

    Attributes:
        watermark: Event time up to which everything is counted.
        throughput: Requests a second, by wall clock.
        latency: p99 in seconds, by wall clock.
        measurements: The guards of the rollout under way (or the last one).
        evidence: Test name to its e-value over event time, for the chart of the rollout.
        calibration: Of the stable version's latest outcomes; of what it was proved on until enough of them came.
        assumption: What the label-free estimate rests on.
    """

    endpoint: str
    release: int
    watermark: float = 0.0
    requests: int = 0
    rows: int = 0
    errors: int = 0
    outcomes: int = 0
    p50_s: float = 0.0
    p99_s: float = 0.0
    throughput: Series = Series()
    latency: Series = Series()
    error_rate: Series = Series()
    variants: tuple[VariantView, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    evidence: dict[str, Series] = {}
    drift: tuple[ColumnDrift, ...] = ()
    quality: tuple[QualityPoint, ...] = ()
    calibration: tuple[CalibrationPoint, ...] = ()
    assumption: str = ""


class Observed(Record, frozen=True, kw_only=True):
    """The whole file: every endpoint, when it was written, and where predictions are answered."""

    at: float = 0.0
    url: str = ""
    workers: int = 0
    workers_ready: int = 0
    endpoints: dict[str, EndpointView] = {}


def read_observed(home: Path) -> Observed:
    """The last view; an empty one while no control plane has written any."""
    path = home / "run" / "observed.json"
    try:
        return decode(path.read_bytes(), Observed)
    except (FileNotFoundError, Corrupt):
        return Observed()


def write_observed(home: Path, observed: Observed) -> None:
    """Replace the view in one step, so that no reader ever sees half of it."""
    path = home / "run" / "observed.json"
    scratch = path.with_suffix(".tmp")
    scratch.write_bytes(encode(observed))
    scratch.replace(path)
