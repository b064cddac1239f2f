"""Events: the chain itself, as it was written."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.api.bodies import Acting
from penstock.web.answers import answer
from penstock.web.permissions import WebRoute

_PAGE = 500


def list_events(
    caller: Acting,
    since: Annotated[int, Query(ge=0)] = 0,
    kind: str = "",
    subject: str = "",
    limit: Annotated[int, Query(ge=1, le=_PAGE)] = _PAGE,
) -> Response:
    """Events after `since`, oldest first; `next` is where to go on, 0 at the end."""
    found = caller.app.registry.events(since, kind=kind, subject=subject, limit=limit + 1)
    page = found[:limit]
    return answer({"events": page, "next": page[-1].seq if len(found) > limit else 0})


ROUTES = (WebRoute("GET", "/api/v1/events", list_events, READ),)
