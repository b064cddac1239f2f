"""What the control plane sees of one endpoint: exchanges and outcomes go in, incidents and a view come out.

    exchanges -> counts, latencies -------------------------------+-> EndpointView
              -> rows of the stable version -> monitor ---+        |
    outcomes  -> join by prediction id -> monitor --------+-> incidents

It is memory alone and rebuilt from the inference log; what it finds out is written down as events by the loop.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from itertools import chain

import numpy as np
from msgspec.structs import replace

from penstock.app.pending import Pending
from penstock.app.views import CalibrationPoint, ColumnDrift, EndpointView, QualityPoint, Series, VariantView
from penstock.observe.frames import predictions, table_of
from penstock.observe.monitor import Monitor, open_monitor
from penstock.observe.quality import Quality
from penstock.packages.read import Package
from penstock.records import Exchange, Incident, Manifest, Measurement, Outcome, Variant
from penstock.release.answers import Score, score_of
from penstock.statistics.calibration import reliability
from penstock.statistics.estimation import ASSUMPTION
from penstock.statistics.reference import Reference
from penstock.statistics.reference import decode as decode_reference

PROFILE = "profile.json"
RECENT = 5_000
"""Latencies kept for the quantiles."""
SCORES = 20_000
"""Scores of the stable version kept as what a later candidate's are held against."""
LABELLED = 20_000
"""Rows kept whose outcome is known, for the reliability diagram; fewer than `SHOWN` show nothing yet."""
SHOWN = 200
TICKS = 240
"""Points kept of each curve, one a second."""
DAY_H = 24


class Tally:
    """Counts and recent latencies of one stream of exchanges."""

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.errors = 0
        self.latencies: deque[float] = deque(maxlen=RECENT)

    def add(self, exchange: Exchange) -> None:
        """Count one."""
        self.requests += 1
        self.rows += exchange.rows
        self.errors += exchange.code != "ok"
        self.latencies.append(exchange.latency_s)

    def quantile(self, share: float) -> float:
        """Latency in seconds; 0 before the first exchange."""
        return float(np.quantile(self.latencies, share)) if self.latencies else 0.0


class Curves:
    """Throughput, p99 and error rate, a point a second of wall clock, for the console."""

    def __init__(self) -> None:
        self.at: deque[float] = deque(maxlen=TICKS)
        self.rate: deque[float] = deque(maxlen=TICKS)
        self.p99: deque[float] = deque(maxlen=TICKS)
        self.failing: deque[float] = deque(maxlen=TICKS)
        self._before = (time.time(), 0, 0)

    def tick(self, tally: Tally) -> None:
        """Add a point where a second has passed."""
        now = time.time()
        since, requests, errors = self._before
        if now - since < 1.0:
            return
        self.at.append(now)
        self.rate.append((tally.requests - requests) / (now - since))
        self.p99.append(tally.quantile(0.99))
        self.failing.append((tally.errors - errors) / max(tally.requests - requests, 1))
        self._before = (now, tally.requests, tally.errors)

    def series(self, values: deque[float]) -> Series:
        """One curve."""
        return Series(at=tuple(self.at), values=tuple(values))


class Watcher:
    """One endpoint.

    Args:
        endpoint: Its name.

    Attributes:
        digest: Of the package whose reference is watched.
        scores: What the stable version answered last.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.watermark = 0.0
        self.outcomes = 0
        self._all = Tally()
        self._variants: dict[tuple[str, int], Tally] = {}
        self._curves = Curves()
        self._release = 0
        self._live: tuple[Variant, ...] = ()
        self.digest = ""
        self._manifest: Manifest | None = None
        self._monitor: Monitor | None = None
        self._pending = Pending()
        self._labelled: deque[tuple[float, float]] = deque(maxlen=LABELLED)
        self.scores: deque[Score] = deque(maxlen=SCORES)

    def follow(self, release: int, live: Sequence[Variant], stable: Package | None) -> list[Incident]:
        """Look at another release: its stable version's package brings the reference.

        Returns:
            Incidents of the version that was watched before, closed, since it answers no more.
        """
        self._release, self._live = release, tuple(live)
        if stable is None or stable.digest == self.digest:
            return []
        self.digest = stable.digest
        closed = self._monitor.open_incidents() if self._monitor else []
        self._manifest = stable.manifest
        self._labelled.clear()
        reference = _reference(stable)
        self._monitor = open_monitor(self.endpoint, reference) if reference else None
        return [replace(one, closed_at=max(self.watermark, one.opened_at)) for one in closed]

    def see(self, exchanges: Sequence[Exchange]) -> list[Incident]:
        """Take in what was answered."""
        watched = []
        for exchange in exchanges:
            key = (exchange.variant, exchange.version)
            if key not in self._variants:
                self._variants[key] = Tally()
            self._variants[key].add(exchange)
            if not exchange.shadow:
                self._all.add(exchange)
            if exchange.code == "ok" and exchange.outputs and not exchange.shadow:
                watched.append(exchange)
        self.watermark = max([self.watermark, *(exchange.event_time for exchange in exchanges)])
        return self._watch(watched)

    def learn(self, outcomes: Sequence[Outcome]) -> list[Incident]:
        """Take in what turned out to be true."""
        self.outcomes += len(outcomes)
        if self._manifest is None:
            return []
        rows = self._pending.take(outcomes, self._manifest.classes)
        if rows is None:
            return []
        known = np.isfinite(rows.scores) & np.isfinite(rows.labels)
        self._labelled.extend(zip(rows.scores[known].tolist(), rows.labels[known].tolist(), strict=True))
        return self._monitor.outcomes(rows) if self._monitor else []

    def view(self, measurements: tuple[Measurement, ...], evidence: dict[str, Series]) -> EndpointView:
        """All of it, for people to look at, beside what the rollout's guards know."""
        self._curves.tick(self._all)
        monitor = self._monitor
        return EndpointView(
            endpoint=self.endpoint,
            release=self._release,
            watermark=self.watermark,
            requests=self._all.requests,
            rows=self._all.rows,
            errors=self._all.errors,
            outcomes=self.outcomes,
            p50_s=self._all.quantile(0.5),
            p99_s=self._all.quantile(0.99),
            throughput=self._curves.series(self._curves.rate),
            latency=self._curves.series(self._curves.p99),
            error_rate=self._curves.series(self._curves.failing),
            variants=tuple(self._variant(variant) for variant in self._live),
            measurements=measurements,
            evidence=evidence,
            drift=_drift(monitor) if monitor else (),
            quality=tuple(chain.from_iterable(_points(one) for one in monitor.history)) if monitor else (),
            calibration=self._calibration(),
            assumption=ASSUMPTION if monitor else "",
        )

    def _watch(self, exchanges: Sequence[Exchange]) -> list[Incident]:
        """Rows of the stable version to its monitor, and to those who wait for their outcome."""
        if self._manifest is None:
            return []
        version = next((variant.version for variant in self._live if variant.name == "stable"), 0)
        stable = [one for one in exchanges if one.version == version]
        if not stable:
            return []
        table = table_of(stable, self._manifest)
        rows = predictions(table)
        self.scores.extend(score for one in stable if (score := score_of(one)) is not None)
        self._pending.add(table["prediction"].to_pylist(), rows, table["answer"].to_pylist())
        return self._monitor.predictions(rows) if self._monitor else []

    def _calibration(self) -> tuple[CalibrationPoint, ...]:
        """The stable version's latest outcomes by score; what it was proved on until enough of them came."""
        bins = self._monitor.reference.reliability if self._monitor else ()
        if self._manifest is not None and self._manifest.classes and len(self._labelled) >= SHOWN:
            scores, labels = zip(*self._labelled, strict=True)
            bins = reliability(scores, labels)
        return tuple(CalibrationPoint(predicted=one.score, observed=one.frequency, count=one.rows) for one in bins)

    def _variant(self, variant: Variant) -> VariantView:
        """What a version answered under this name, in whichever release."""
        tally = self._variants.get((variant.name, variant.version), Tally())
        return VariantView(
            name=variant.name,
            model=variant.model,
            version=variant.version,
            share=variant.share,
            shadow=variant.shadow,
            requests=tally.requests,
            errors=tally.errors,
            p50_s=tally.quantile(0.5),
            p99_s=tally.quantile(0.99),
        )


def _reference(package: Package) -> Reference | None:
    """What the version was proved on; None where it was packaged without data."""
    if PROFILE not in package.manifest.files:
        return None
    return decode_reference(package.read(PROFILE))


def _drift(monitor: Monitor) -> tuple[ColumnDrift, ...]:
    """Each column against the largest distance of the reference's own days."""
    windows = monitor.reference.window(DAY_H)
    largest = windows.largest if windows else {}
    found = []
    for name, distance in monitor.drift.items():
        limit = max(0.02, 1.5 * largest.get(name, 0.0))
        found.append(ColumnDrift(column=name, psi=distance, limit=limit, moved=distance > limit))
    return tuple(sorted(found, key=lambda one: -one.psi / one.limit))


def _points(quality: Quality) -> list[QualityPoint]:
    """One day: each metric's estimate beside what came true."""
    realised = {one.metric: one for one in quality.realised}
    points = []
    for estimate in quality.estimates:
        known = realised.get(estimate.metric)
        points.append(
            QualityPoint(
                at=quality.start,
                rows=quality.rows,
                metric=estimate.metric,
                estimated=estimate.value,
                estimated_low=estimate.low,
                estimated_high=estimate.high,
                realised=known.value if known else None,
                realised_low=known.low if known else None,
                realised_high=known.high if known else None,
                valid=estimate.valid,
            )
        )
    return points
