"""Monitoring of an endpoint: incidents, quality estimated and realised, drift against own limits, calibration."""

from __future__ import annotations

from fastapi import Request
from markupsafe import Markup
from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.app.views import ColumnDrift, EndpointView, read_observed
from penstock.console import writing
from penstock.console.charts.bars import BarChart, LimitBar, bar_chart
from penstock.console.charts.drawing import Table
from penstock.console.charts.lines import Curve, LineChart, line_chart
from penstock.console.charts.reliability import Point, ReliabilityChart, reliability_chart
from penstock.console.language import Texts
from penstock.console.pages.states import badge_of_endpoint, badge_of_severity
from penstock.console.render import page, page_refusal, shown, words
from penstock.web.permissions import WebRoute


def show_monitoring(request: Request, endpoint: str) -> Response:
    """What the monitors see of one endpoint."""
    caller = shown(request)
    t = words(request)
    known = caller.app.state().endpoint(endpoint)
    view = read_observed(caller.app.home).endpoints.get(endpoint, EndpointView(endpoint=endpoint, release=0))
    ordered = sorted(known.incidents.values(), key=lambda incident: incident.opened_at, reverse=True)
    incidents = [(incident, badge_of_severity(incident.severity)) for incident in ordered]
    context = {
        "endpoint": endpoint,
        "badge": badge_of_endpoint(known),
        "view": view,
        "open": [pair for pair in incidents if not pair[0].closed_at],
        "closed": [pair for pair in incidents if pair[0].closed_at],
        "proposals": list(reversed(known.proposals)),
        "quality": quality_chart(view, t),
        "rejected": any(not point.valid for point in view.quality),
        "drift": drift_chart(view, t),
        "calibration": calibration_chart(view, t),
    }
    return page(request, "monitoring.html", context, caller=caller)


def quality_chart(view: EndpointView, t: Texts) -> Markup:
    """The label-free estimate beside what the outcomes showed, each with its band."""
    points = view.quality
    at = [point.at for point in points]
    estimated = Curve(
        t("chart.estimated"),
        at,
        [point.estimated for point in points],
        [point.estimated_low for point in points],
        [point.estimated_high for point in points],
        tone=1,
    )
    realised = Curve(
        t("chart.realised"),
        at,
        [point.realised for point in points],
        [point.realised_low for point in points],
        [point.realised_high for point in points],
        tone=0,
    )
    metric = t.named("metric", points[-1].metric) if points else t("chart.quality")
    return line_chart(
        LineChart(
            title=metric,
            description=t("chart.quality_about"),
            curves=[realised, estimated],
            write=lambda value: f"{value:.3f}",
            nothing=t("chart.no_quality"),
            figures=t("chart.figures"),
            time=t("chart.event_time"),
            zero=False,
        )
    )


def drift_chart(view: EndpointView, t: Texts) -> Markup:
    """How far each column moved, as a multiple of its own limit; the furthest first."""
    columns = sorted(view.drift, key=_ratio, reverse=True)
    headings = [t("drift.column"), t("drift.psi"), t("drift.limit"), t("drift.importance"), t("drift.state")]
    rows = [[one.column, *_figures(one), t("drift.moved" if one.moved else "drift.still")] for one in columns]
    return bar_chart(
        BarChart(
            title=t("chart.drift"),
            description=t("chart.drift_about"),
            bars=[_bar(column, t) for column in columns],
            limit=t("chart.limit"),
            nothing=t("chart.no_drift"),
            table=Table(t("chart.figures"), headings, rows),
        )
    )


def calibration_chart(view: EndpointView, t: Texts) -> Markup:
    """What was predicted against how often it came true."""
    headings = [t("chart.predicted"), t("chart.came_true"), t("chart.count")]
    rows = [[f"{p.predicted:.3f}", f"{p.observed:.3f}", writing.count(p.count)] for p in view.calibration]
    return reliability_chart(
        ReliabilityChart(
            title=t("chart.calibration"),
            description=t("chart.calibration_about"),
            points=[Point(point.predicted, point.observed, point.count) for point in view.calibration],
            across=t("chart.predicted"),
            up=t("chart.came_true"),
            nothing=t("chart.no_calibration"),
            table=Table(t("chart.figures"), headings, rows),
        )
    )


def _bar(column: ColumnDrift, t: Texts) -> LimitBar:
    ratio = _ratio(column)
    words = t("chart.moved" if column.moved else "chart.still", {"times": f"{ratio:.2g}"})
    return LimitBar(column.column, ratio, words, column.moved)


def _figures(column: ColumnDrift) -> list[str]:
    return [f"{column.psi:.4f}", f"{column.limit:.4f}", f"{column.importance:.3f}"]


def _ratio(column: ColumnDrift) -> float:
    return max(column.psi, 0.0) / column.limit if column.limit > 0 else (2.0 if column.moved else 0.0)


ROUTES = (WebRoute("GET", "/endpoints/{endpoint}/monitoring", show_monitoring, READ, page_refusal, schema=False),)
