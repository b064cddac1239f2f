"""Metrics of the control plane as Prometheus text; the data plane has its own on its own address."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.api.bodies import Acting
from penstock.app.deliveries import DeliveryList, read_deliveries
from penstock.app.views import EndpointView, read_observed
from penstock.web.permissions import WebRoute


def get_metrics(caller: Acting) -> Response:
    """What the events and the last look at the traffic amount to, read at each scrape."""
    state, observed = caller.app.state(), read_observed(caller.app.home)
    registry = CollectorRegistry()
    Gauge("penstock_events", "Events in the chain.", registry=registry).set(state.seq)
    Gauge("penstock_workers_ready", "Workers that answer.", registry=registry).set(observed.workers_ready)
    incidents = Gauge("penstock_incidents_open", "Incidents open.", ["endpoint", "severity"], registry=registry)
    for name, endpoint in state.endpoints.items():
        severities = [one.severity for one in endpoint.open_incidents().values()]
        for severity in ("page", "ticket", "record"):
            incidents.labels(name, severity).set(severities.count(severity))
    _observe(registry, observed.endpoints)
    _tell_exporters(registry, read_deliveries(caller.app.home))
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def _observe(registry: CollectorRegistry, endpoints: dict[str, EndpointView]) -> None:
    requests = Gauge("penstock_requests", "Requests seen in the log.", ["endpoint"], registry=registry)
    errors = Gauge("penstock_errors", "Requests that failed.", ["endpoint"], registry=registry)
    latency = Gauge("penstock_latency_p99_seconds", "99th percentile.", ["endpoint"], registry=registry)
    drift = Gauge("penstock_drift_psi", "PSI of a column's last window.", ["endpoint", "column"], registry=registry)
    for name, view in endpoints.items():
        requests.labels(name).set(view.requests)
        errors.labels(name).set(view.errors)
        latency.labels(name).set(view.p99_s)
        for column in view.drift:
            drift.labels(name, column.column).set(column.psi)
    _tell_quality(registry, endpoints)


def _tell_exporters(registry: CollectorRegistry, deliveries: DeliveryList) -> None:
    labels = ["endpoint", "exporter"]
    behind = Gauge("penstock_export_lag_seconds", "Age of the oldest exchange not sent.", labels, registry=registry)
    sent = Gauge("penstock_export_sent", "Exchanges sent since the start.", labels, registry=registry)
    refused = Gauge("penstock_export_refused", "Exchanges that were never taken.", labels, registry=registry)
    for one in deliveries.exporters:
        behind.labels(one.endpoint, one.kind).set(one.behind_s)
        sent.labels(one.endpoint, one.kind).set(one.sent)
        refused.labels(one.endpoint, one.kind).set(one.refused)


def _tell_quality(registry: CollectorRegistry, endpoints: dict[str, EndpointView]) -> None:
    """The latest day's figures; an estimate that labels contradict is left out, so that nobody alerts on it."""
    labels = ["endpoint", "metric"]
    estimated = Gauge("penstock_quality_estimated", "Without labels; absent where invalid.", labels, registry=registry)
    realised = Gauge("penstock_quality_realised", "By the labels of the last labelled day.", labels, registry=registry)
    for name, view in endpoints.items():
        for metric, point in {one.metric: one for one in view.quality}.items():
            if point.valid and point.estimated is not None:
                estimated.labels(name, metric).set(point.estimated)
        known = {one.metric: one.realised for one in view.quality if one.realised is not None}
        for metric, value in known.items():
            realised.labels(name, metric).set(value)


ROUTES = (WebRoute("GET", "/metrics", get_metrics, READ),)
