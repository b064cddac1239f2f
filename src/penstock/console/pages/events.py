"""Events: the chain as it was written, with a filter, and the button that walks all of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.app.evidence import verify_home
from penstock.console.render import page, page_refusal, shown
from penstock.registry.events import KINDS
from penstock.web.permissions import Route

_PAGE = 50


def show_events(
    request: Request,
    kind: Annotated[str, Query(max_length=64)] = "",
    subject: Annotated[str, Query(max_length=200)] = "",
    before: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """The newest events, or those before a number."""
    return page(request, "events.html", _context(request, kind, subject.strip(), before), caller=shown(request))


def post_verify(request: Request) -> Response:
    """Walk the whole chain and every package, and show what was found beside the newest events."""
    found = verify_home(shown(request).app.home)
    return page(request, "events.html", _context(request, "", "", 0) | {"verification": found}, caller=shown(request))


def _context(request: Request, kind: str, subject: str, before: int) -> dict[str, object]:
    registry = shown(request).app.registry
    found = registry.events(kind=kind, subject=subject)
    upto = [event for event in found if not before or event.seq < before]
    rows = upto[-_PAGE:][::-1]
    return {
        "events": rows,
        "kinds": sorted(KINDS),
        "kind": kind,
        "subject": subject,
        "older": rows[-1].seq if len(upto) > _PAGE else 0,
        "total": len(found),
        "before": before,
        "verification": None,
    }


ROUTES = (
    Route("GET", "/events", show_events, READ, page_refusal, schema=False),
    Route("POST", "/events/verify", post_verify, READ, page_refusal, schema=False),
)
