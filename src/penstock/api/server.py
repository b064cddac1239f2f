"""The control plane's web server: the API's routes, the console's when given, behind one door and one shield.

What comes in: an App, and tables of further routes. What goes out: a FastAPI app that refuses to be made with a
route that declares no permission. FastAPI's own docs pages are off: they load scripts from elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from penstock.api.routes import (
    endpoints,
    events,
    health,
    incidents,
    metrics,
    models,
    outcomes,
    predictions,
    releases,
    verify,
)
from penstock.app.app import App
from penstock.web.callers import Doorkeeper, request_id_of
from penstock.web.permissions import WebRoute, hold, install
from penstock.web.refusals import json_refusal
from penstock.web.sessions import Sessions
from penstock.web.shield import Shield

ROUTES: tuple[WebRoute, ...] = (
    *models.ROUTES,
    *endpoints.ROUTES,
    *releases.ROUTES,
    *outcomes.ROUTES,
    *incidents.ROUTES,
    *events.ROUTES,
    *predictions.ROUTES,
    *verify.ROUTES,
    *health.ROUTES,
    *metrics.ROUTES,
)


def create(app: App, *, pages: Sequence[WebRoute] = (), hosts: Sequence[str] = ()) -> FastAPI:
    """The web server of a home; the live router is walked now and again when it starts.

    Args:
        app: Whose home it serves; callers act under their own identities, never under this one's.
        pages: The console's routes, `penstock.console.routes.ROUTES`.
        hosts: Names it is called by beside the loopback ones and the configured one.

    Raises:
        BadConfig: A route declares no permission.
    """
    web = FastAPI(title="Penstock", version="1", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_started)
    web.state.door = Doorkeeper(app, Sessions())
    web.add_middleware(Shield, hosts=(app.config.api.host, *hosts))
    web.add_exception_handler(HTTPException, _no_route)
    install(web, [*ROUTES, *pages])
    hold(web)
    return web


@asynccontextmanager
async def _started(web: FastAPI) -> AsyncIterator[None]:
    """Whoever added a route since `create` has to have declared it too."""
    hold(web)
    yield


async def _no_route(request: Request, error: Exception) -> Response:
    return json_refusal(error, request_id_of(request))
