"""Endpoints: what was wished of each, what answers now, and what was seen of it."""

from __future__ import annotations

from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.api.bodies import Acting
from penstock.app.views import read_observed
from penstock.app.watching import status
from penstock.web.answers import answer
from penstock.web.permissions import WebRoute


def list_endpoints(caller: Acting) -> Response:
    """Every endpoint: where it answers, what runs, how it is."""
    return answer(status(caller.app))


def get_endpoint(caller: Acting, endpoint: str) -> Response:
    """One endpoint: its state from the events, and the control plane's last look at its traffic."""
    state = caller.app.state()
    known = state.endpoint(endpoint)
    observed = read_observed(caller.app.home)
    body = {
        "endpoint": endpoint,
        "url": observed.url,
        "live": known.live,
        "current": known.current,
        "stable": known.stable,
        "incidents": known.open_incidents(),
        "proposals": known.proposals,
        "observed": observed.endpoints.get(endpoint),
    }
    return answer(body, generation=state.generation(f"endpoint/{endpoint}"))


ROUTES = (
    WebRoute("GET", "/api/v1/endpoints", list_endpoints, READ),
    WebRoute("GET", "/api/v1/endpoints/{endpoint}", get_endpoint, READ),
)
