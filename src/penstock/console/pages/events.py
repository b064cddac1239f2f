"""Events: the chain as it was written, with a filter, and the button that walks all of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.app.app import App
from penstock.app.evidence import verify_home
from penstock.console.render import page, page_refusal, shown
from penstock.records import Event
from penstock.registry.events import KINDS
from penstock.web.permissions import WebRoute

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
    found, total = _events(shown(request).app, kind, subject, before)
    rows = found[-_PAGE:][::-1]
    return {
        "events": rows,
        "kinds": sorted(KINDS),
        "kind": kind,
        "subject": subject,
        "older": rows[-1].seq if len(found) > _PAGE else 0,
        "total": total,
        "before": before,
        "verification": None,
    }


def _events(app: App, kind: str, subject: str, before: int) -> tuple[list[Event], int]:
    """The events before a number, oldest first, a page and one more where there are so many; and how many in all."""
    if kind or subject:
        found = app.registry.events(kind=kind, subject=subject)
        return [event for event in found if not before or event.seq < before], len(found)
    newest = app.state().seq
    last = min(before - 1, newest) if before else newest
    start = max(0, last - _PAGE - 1)
    return (app.registry.events(start, limit=last - start) if last > start else []), newest


ROUTES = (
    WebRoute("GET", "/events", show_events, READ, page_refusal, schema=False),
    WebRoute("POST", "/events/verify", post_verify, READ, page_refusal, schema=False),
)
