"""What monitors know, as Prometheus text, for the control plane's ``/metrics``.

What comes in: monitors. What goes out: the exposition format, one sample per endpoint and what it is about. The
collector is made afresh at each scrape, so nothing is remembered between two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock.observe.detector import Severity
from penstock.observe.monitor import Monitor
from penstock.observe.quality import Quality

SEVERITIES: tuple[Severity, ...] = ("page", "ticket", "record")


class MonitorCollector(Collector):
    """All monitors as gauges.

    Args:
        monitors: One per endpoint.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = monitors

    def collect(self) -> Iterable[Metric]:
        """Every family, with a sample of each monitor."""
        yield self._incidents()
        yield self._drift()
        yield from self._quality()

    def _incidents(self) -> Metric:
        family = GaugeMetricFamily(
            "penstock_incidents_open", "Open incidents by severity.", labels=["endpoint", "severity"]
        )
        for monitor in self._monitors:
            severities = [known.severity for known in monitor.open_incidents()]
            for severity in SEVERITIES:
                family.add_metric([monitor.endpoint, severity], severities.count(severity))
        return family

    def _drift(self) -> Metric:
        family = GaugeMetricFamily(
            "penstock_drift_psi", "PSI of the last whole day against the reference.", labels=["endpoint", "column"]
        )
        for monitor in self._monitors:
            for column, psi in monitor.drift.items():
                family.add_metric([monitor.endpoint, column], psi)
        return family

    def _quality(self) -> Iterable[Metric]:
        labels = ["endpoint", "metric"]
        estimated = GaugeMetricFamily(
            "penstock_quality_estimated", "Last day's estimate without labels; absent where invalid.", labels=labels
        )
        realised = GaugeMetricFamily("penstock_quality_realised", "Last labelled day, by its labels.", labels=labels)
        for monitor in self._monitors:
            for estimate in _last(monitor.history, labelled=False).estimates:
                if estimate.valid:
                    estimated.add_metric([monitor.endpoint, estimate.metric], estimate.value)
            for known in _last(monitor.history, labelled=True).realised:
                realised.add_metric([monitor.endpoint, known.metric], known.value)
        return estimated, realised


def exposition(monitors: Sequence[Monitor]) -> bytes:
    """All monitors in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(MonitorCollector(monitors))
    return generate_latest(registry)


def _last(history: Sequence[Quality], *, labelled: bool) -> Quality:
    found = (known for known in reversed(history) if not labelled or known.realised)
    return next(found, Quality(start=0.0, end=0.0, rows=0))
