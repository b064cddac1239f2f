"""Predictions: from one of them back to package, data, code, gate report and approvals."""

from __future__ import annotations

from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.api.bodies import Acting
from penstock.app.evidence import trace
from penstock.web.answers import answer
from penstock.web.permissions import WebRoute


def get_trace(caller: Acting, prediction: str) -> Response:
    """Everything that stands behind one prediction."""
    return answer(trace(caller.app, prediction))


ROUTES = (WebRoute("GET", "/api/v1/predictions/{prediction}", get_trace, READ),)
