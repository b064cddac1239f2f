"""The overview: what needs somebody now, then every endpoint, the models, and the newest events."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fastapi import Request
from markupsafe import Markup
from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.app.views import EndpointView, Observed, read_observed
from penstock.console.charts.lines import sparkline
from penstock.console.language import Texts
from penstock.console.pages.states import Badge, awaits_approval, badge_of_endpoint, badge_of_severity, badge_of_verdict
from penstock.console.render import page, page_refusal, shown, words
from penstock.records import Variant
from penstock.registry.state import EndpointState, State
from penstock.web.permissions import WebRoute

_STALE_S = 15.0
_NEWEST = 8


@dataclass(frozen=True)
class Attention:
    """One thing that waits for a person."""

    badge: Badge
    title: str
    detail: str
    href: str


@dataclass(frozen=True)
class EndpointCard:
    """One endpoint in short."""

    name: str
    badge: Badge
    live: tuple[Variant, ...]
    view: EndpointView
    spark: Markup
    incidents: int


def overview(request: Request) -> Response:
    """The first page after signing in."""
    caller = shown(request)
    state, observed, t = caller.app.state(), read_observed(caller.app.home), words(request)
    context = {
        "attention": attention(state, observed, t),
        "cards": [_card(name, one, observed, t) for name, one in sorted(state.endpoints.items())],
        "models": [(name, m, badge_of_verdict(m.versions[-1].verdict)) for name, m in sorted(state.models.items())],
        "events": caller.app.registry.events(max(0, state.seq - _NEWEST))[::-1],
        "observed": observed,
        "stale": _stale(observed),
    }
    return page(request, "overview.html", context, caller=caller)


def attention(state: State, observed: Observed, t: Texts) -> list[Attention]:
    """What waits for a person, the most pressing first."""
    found = _data_plane(state, observed, t)
    for name, endpoint in sorted(state.endpoints.items()):
        found += _incidents(name, endpoint)
        found += _release(name, endpoint, t)
    for name, model in sorted(state.models.items()):
        # Only the newest version: an older one that nobody approved is history.
        newest = model.versions[-1]
        if awaits_approval(newest):
            href = f"/models/{name}/versions/{newest.version.version}#approvals"
            title = t("attention.approval", {"ref": newest.version.ref})
            found.append(Attention(Badge("busy", "attention.waiting"), title, t("attention.approval_detail"), href))
    return sorted(found, key=lambda item: ("bad", "warn", "busy", "quiet").index(item.badge.tone))


def _data_plane(state: State, observed: Observed, t: Texts) -> list[Attention]:
    if not any(endpoint.live for endpoint in state.endpoints.values()):
        return []
    if _stale(observed):
        badge = Badge("warn", "attention.stale_badge")
        return [Attention(badge, t("attention.stale"), t("attention.stale_detail"), "/")]
    if observed.workers_ready < observed.workers:
        values = {"ready": observed.workers_ready, "all": observed.workers}
        badge = Badge("warn", "attention.workers_badge")
        return [Attention(badge, t("attention.workers", values), t("attention.workers_detail"), "/")]
    return []


def _incidents(name: str, endpoint: EndpointState) -> list[Attention]:
    href = f"/endpoints/{name}/monitoring#incidents"
    return [
        Attention(badge_of_severity(incident.severity), f"{name}: {incident.title}", incident.effect, href)
        for incident in endpoint.open_incidents().values()
        if incident.severity != "record"
    ]


def _release(name: str, endpoint: EndpointState, t: Texts) -> list[Attention]:
    badge = badge_of_endpoint(endpoint)
    found = []
    current = endpoint.current
    if current is not None and badge.tone in ("warn", "bad"):
        settled = endpoint.settled.get(current.revision)
        title = t(f"attention.{badge.text.removeprefix('phase.')}", {"endpoint": name, "release": current.revision})
        found.append(Attention(badge, title, settled.reason if settled else "", f"/endpoints/{name}#rollout"))
    if endpoint.proposals and endpoint.proposals[-1].at > _last_step_at(endpoint):
        newest = endpoint.proposals[-1]
        title = t("attention.proposal", {"endpoint": name, "action": t.named("action", newest.action)})
        href = f"/endpoints/{name}/monitoring#proposals"
        found.append(Attention(Badge("busy", "attention.waiting"), title, newest.reason, href))
    return found


def _last_step_at(endpoint: EndpointState) -> float:
    """Event time of the latest release's last step: what was proposed before it has had its answer."""
    return max((step.at for step in endpoint.steps_of(len(endpoint.releases))), default=0.0)


def _card(name: str, endpoint: EndpointState, observed: Observed, t: Texts) -> EndpointCard:
    view = observed.endpoints.get(name, EndpointView(endpoint=name, release=0))
    spark = sparkline(view.throughput.at, view.throughput.values, t("overview.spark", {"endpoint": name}))
    return EndpointCard(name, badge_of_endpoint(endpoint), endpoint.live, view, spark, len(endpoint.open_incidents()))


def _stale(observed: Observed) -> bool:
    return observed.at < time.time() - _STALE_S


ROUTES = (WebRoute("GET", "/", overview, READ, page_refusal, schema=False),)
