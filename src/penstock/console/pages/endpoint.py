"""An endpoint: its traffic now, its variants, the rollout under way with its evidence, and the two buttons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Form, Request
from markupsafe import Markup
from msgspec.structs import replace
from starlette.responses import Response

from penstock.access.permissions import READ, RELEASE, ROLLBACK
from penstock.app.releasing import ReleaseRequest, release, rollback
from penstock.app.views import EndpointView, read_observed
from penstock.console import writing
from penstock.console.charts.bars import Share, share_bar
from penstock.console.charts.lines import Curve, LineChart, line_chart
from penstock.console.language import Texts
from penstock.console.pages.states import Badge, badge_of_endpoint, badge_of_phase, under_way
from penstock.console.render import moved, page, page_refusal, shown, words
from penstock.records import Guards, Release, Step
from penstock.registry.state import EndpointState, State, VersionState
from penstock.web.answers import hold_generation
from penstock.web.permissions import WebRoute


def show_endpoint(request: Request, endpoint: str) -> Response:
    """One endpoint, live."""
    caller = shown(request)
    state, t = caller.app.state(), words(request)
    known = state.endpoint(endpoint)
    observed = read_observed(caller.app.home)
    view = observed.endpoints.get(endpoint, EndpointView(endpoint=endpoint, release=0))
    context = {
        "endpoint": endpoint,
        "known": known,
        "badge": badge_of_endpoint(known),
        "view": view,
        "url": f"{observed.url}/v2/models/{endpoint}/infer" if observed.url else "",
        "charts": traffic_charts(view, t),
        "shares": _shares(known, t),
        "evidence": evidence_chart(view, t),
        "under_way": under_way(known),
        "steps": [(step, badge_of_phase(step.phase)) for step in reversed(_steps(known))],
        "history": [(one, _fate(known, one)) for one in reversed(known.releases)],
        "versions": _versions(state, known),
        "backwards": [one.revision for one in reversed(known.releases[:-1])],
        "endpoint_generation": state.generation(f"endpoint/{endpoint}"),
    }
    return page(request, "endpoint.html", context, caller=caller)


def post_release(
    request: Request,
    version: Annotated[str, Form(max_length=200)],
    endpoint: Annotated[str, Form(max_length=64)],
    strategy: Annotated[str, Form(max_length=32)] = "canary",
    share: Annotated[float, Form(gt=0, le=100)] = 10.0,
    reason: Annotated[str, Form(max_length=2000)] = "",
    expect: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Wish for a release; `share` is the candidate's first share in per cent."""
    app = shown(request).app
    hold_generation(app, f"endpoint/{endpoint}", expect)
    guards = _guards(app.config.guards, share / 100)
    release(app, version, ReleaseRequest(endpoint=endpoint, strategy=strategy, guards=guards, reason=reason))
    return moved(f"/endpoints/{endpoint}", "released")


def post_rollback(
    request: Request,
    endpoint: str,
    to: Annotated[str, Form(max_length=10)] = "",
    reason: Annotated[str, Form(max_length=2000)] = "",
    expect: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Take the endpoint back; an empty `to` is the last release that was good."""
    app = shown(request).app
    hold_generation(app, f"endpoint/{endpoint}", expect)
    rollback(app, endpoint, to=int(to) if to.isdecimal() else None, reason=reason)
    return moved(f"/endpoints/{endpoint}", "rolled_back")


def traffic_charts(view: EndpointView, t: Texts) -> list[Markup]:
    """Requests, latency and errors over time."""
    kinds = (
        ("throughput", view.throughput, writing.rate, 1.0),
        ("latency", view.latency, writing.duration, 0.001),
        ("errors", view.error_rate, writing.percent, 0.002),
    )
    return [
        line_chart(
            LineChart(
                title=t(f"chart.{name}"),
                description=t(f"chart.{name}_about"),
                curves=[Curve(t(f"chart.{name}"), series.at, series.values, tone=tone)],
                least=least,
                write=write,
                nothing=t("chart.no_traffic"),
                figures=t("chart.figures"),
                time=t("chart.time"),
                width=360,
            )
        )
        for tone, (name, series, write, least) in enumerate(kinds)
    ]


def evidence_chart(view: EndpointView, t: Texts) -> Markup:
    """Each test's e-value against the candidate over event time, with the line at which it is taken back."""
    at = min((measurement.threshold for measurement in view.measurements), default=0.0)
    curves = [
        Curve(t.named("test", name), series.at, series.values, tone=index % 6)
        for index, (name, series) in enumerate(sorted(view.evidence.items()))
    ]
    return line_chart(
        LineChart(
            title=t("chart.evidence"),
            description=t("chart.evidence_about"),
            curves=curves,
            write=writing.evidence,
            nothing=t("chart.no_evidence"),
            figures=t("chart.figures"),
            time=t("chart.event_time"),
            threshold=(at, t("chart.threshold", {"at": writing.evidence(at)})) if at else None,
            log=True,
        )
    )


def _guards(usual: Guards, share: float) -> Guards:
    """The home's guards, with another first share."""
    return replace(usual, share=share, steps=(share, *(step for step in usual.steps if step > share)))


def _shares(known: EndpointState, t: Texts) -> Markup:
    answering = [variant for variant in known.live if not variant.shadow and variant.share > 0]
    shares = [Share(f"{t.named('variant', v.name)} {v.ref}", v.share, index) for index, v in enumerate(answering)]
    return share_bar(t("endpoint.shares"), shares) if shares else Markup("")


def _steps(known: EndpointState) -> Sequence[Step]:
    return known.steps_of(known.current.revision) if known.current else ()


def _fate(known: EndpointState, release: Release) -> Badge:
    settled = known.settled.get(release.revision)
    if settled is not None:
        return badge_of_phase(settled.outcome)
    return badge_of_endpoint(known) if release is known.current else badge_of_phase("superseded")


def _versions(state: State, known: EndpointState) -> list[VersionState]:
    """What could be released here: the versions of the models it has served, newest first."""
    names = {variant.model for release in known.releases for variant in release.variants} & set(state.models)
    return [one for name in sorted(names) for one in reversed(state.models[name].versions)]


ROUTES = (
    WebRoute("GET", "/endpoints/{endpoint}", show_endpoint, READ, page_refusal, schema=False),
    WebRoute("POST", "/releases", post_release, RELEASE, page_refusal, schema=False),
    WebRoute("POST", "/endpoints/{endpoint}/rollback", post_rollback, ROLLBACK, page_refusal, schema=False),
)
