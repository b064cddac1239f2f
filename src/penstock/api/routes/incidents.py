"""Incidents: what a monitor opened because it needs a person, with cause, effect and what closes it."""

from __future__ import annotations

from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.api.bodies import Acting
from penstock.web.answers import answer
from penstock.web.permissions import WebRoute


def list_incidents(caller: Acting, endpoint: str = "", closed: bool = False) -> Response:
    """Open incidents of every endpoint or of one; `closed` adds those that are over."""
    state = caller.app.state()
    names = [endpoint] if endpoint else sorted(state.endpoints)
    found = [incident for name in names for incident in state.endpoint(name).incidents.values()]
    return answer({"incidents": [incident for incident in found if closed or not incident.closed_at]})


ROUTES = (WebRoute("GET", "/api/v1/incidents", list_incidents, READ),)
