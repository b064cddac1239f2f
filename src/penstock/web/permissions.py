"""What every route demands: declared where it is registered, or the server does not start.

    WebRoute(method, path, answer, permission) -> install -> GuardedRoute: admit -> read the request -> answer
    hold: walk the live router; anything without a declaration (a mount, a websocket, generated docs) is refused

What comes in: the tables of routes of the API and of the console. What goes out: a FastAPI app none of whose
routes answers anybody before it knows that they may.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from penstock.access.permissions import PERMISSIONS
from penstock.errors import BadConfig
from penstock.web.callers import Doorkeeper, request_id_of
from penstock.web.refusals import json_refusal

PUBLIC = "public"
"""Declared like a permission: anybody may, signed in or not. For the login page, health and the console's own files."""

Refuse = Callable[[Exception, Request], Response]
Handler = Callable[[Request], Coroutine[None, None, Response]]


def _as_json(error: Exception, request: Request) -> Response:
    return json_refusal(error, request_id_of(request))


@dataclass(frozen=True)
class WebRoute:
    """One line of a table of routes.

    Attributes:
        answer: The handler; a plain function runs on a thread, so it may take its time.
        permission: A name of `penstock.access.permissions.PERMISSIONS`, or `PUBLIC`.
        refuse: How an error is shown: JSON, or a page.
        schema: Whether the API's description lists it.
    """

    method: str
    path: str
    answer: Callable[..., object]
    permission: str
    refuse: Refuse = _as_json
    schema: bool = True


class GuardedRoute(APIRoute):
    """A route that admits its caller before it reads anything else of the request."""

    declared: WebRoute | None = None

    def get_route_handler(self) -> Handler:
        """Admission, then FastAPI's own handler; every error leaves through the route's `refuse`."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            route = self.declared
            if route is None:
                raise BadConfig("a route declares no permission", "register it with penstock.web.permissions.install")
            door: Doorkeeper = request.app.state.door
            demanded = None if route.permission == PUBLIC else route.permission
            try:
                request.state.caller = await run_in_threadpool(door.admit, request, demanded)
                return await inner(request)
            except Exception as error:
                return route.refuse(error, request)

        return handle


def install(web: FastAPI, routes: Sequence[WebRoute]) -> None:
    """Register routes, each with its permission.

    Raises:
        BadConfig: One names a permission that does not exist.
    """
    for route in routes:
        _known(route.permission, f"{route.method} {route.path}")
        guarded = GuardedRoute(
            route.path,
            route.answer,
            methods=[route.method],
            response_model=None,
            include_in_schema=route.schema,
            openapi_extra={"x-permission": route.permission},
        )
        guarded.declared = route
        web.router.routes.append(guarded)


def hold(web: FastAPI) -> None:
    """Walk the live router and refuse to start with a route that nobody declared.

    Raises:
        BadConfig: A route, mount, websocket or included router has no declaration; the message names it.
    """
    for route in web.router.routes:
        declared = route.declared if isinstance(route, GuardedRoute) else None
        name = f"{type(route).__name__} {getattr(route, 'path', '')}".strip()
        if declared is None:
            raise BadConfig(
                f"the route '{name}' declares no permission",
                "register it with penstock.web.permissions.install; PUBLIC is a declaration too",
                code="web.undeclared",
            )
        _known(declared.permission, name)
    logging.getLogger("penstock.web").debug("%d routes, each with its permission", len(web.router.routes))


def _known(permission: str, name: str) -> None:
    if permission != PUBLIC and permission not in PERMISSIONS:
        raise BadConfig(
            f"the route '{name}' demands '{permission}', which is no permission",
            f"there are {', '.join(PERMISSIONS)} and {PUBLIC}",
            code="web.undeclared",
        )
