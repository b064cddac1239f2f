"""Trace: from one prediction's id back to package, data, code, gate report and approvals."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.app.evidence import trace
from penstock.console.pages.states import badge_of_verdict
from penstock.console.render import page, page_refusal, shown
from penstock.errors import NotFound
from penstock.web.permissions import WebRoute


def show_trace(request: Request, prediction: Annotated[str, Query(max_length=200)] = "") -> Response:
    """The search, and what stands behind the prediction that was searched for."""
    caller, wanted = shown(request), prediction.strip()
    context: dict[str, object] = {"prediction": wanted, "trace": None, "missing": False}
    if wanted:
        try:
            found = trace(caller.app, wanted)
            context |= {"trace": found, "badge": badge_of_verdict(found.verdict)}
        except NotFound:
            context["missing"] = True
    return page(request, "trace.html", context, caller=caller)


ROUTES = (WebRoute("GET", "/trace", show_trace, READ, page_refusal, schema=False),)
