"""The table of the console's routes; `penstock.api.server.create` takes it as its pages."""

from __future__ import annotations

from penstock.console.pages import assets, endpoint, events, login, models, monitoring, overview, trace
from penstock.web.permissions import WebRoute

ROUTES: tuple[WebRoute, ...] = (
    *overview.ROUTES,
    *models.ROUTES,
    *monitoring.ROUTES,
    *endpoint.ROUTES,
    *events.ROUTES,
    *trace.ROUTES,
    *login.ROUTES,
    *assets.ROUTES,
)
