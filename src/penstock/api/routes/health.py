"""Health, the caller's own rights, and the API's description."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import JSONResponse, Response

from penstock.access.permissions import READ
from penstock.api.bodies import Acting
from penstock.web.answers import answer
from penstock.web.permissions import PUBLIC, WebRoute


def get_health() -> Response:
    """That the control plane answers; says nothing of what it holds."""
    return answer({"status": "ok"})


def get_me(caller: Acting) -> Response:
    """Who the caller is, and what they may do."""
    identity = caller.identity
    permissions = sorted(identity.permissions())
    return answer({"name": identity.name, "roles": identity.roles, "permissions": permissions})


def get_description(request: Request) -> Response:
    """The API as OpenAPI; every route's permission stands in ``x-permission``."""
    return JSONResponse(request.app.openapi())


ROUTES = (
    WebRoute("GET", "/api/v1/health", get_health, PUBLIC),
    WebRoute("GET", "/api/v1/me", get_me, READ),
    WebRoute("GET", "/api/v1/openapi.json", get_description, READ, schema=False),
)
