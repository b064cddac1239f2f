"""Verify: walk the whole chain and every package it names."""

from __future__ import annotations

from starlette.responses import Response

from penstock.access.permissions import READ
from penstock.api.bodies import Acting
from penstock.app.evidence import verify_home
from penstock.app.plain import fields_of
from penstock.web.answers import answer
from penstock.web.permissions import WebRoute


def get_verification(caller: Acting) -> Response:
    """Whether everything is as it was written; if not, which event or file is not."""
    found = verify_home(caller.app.home)
    return answer({"ok": found.ok, **fields_of(found)})


ROUTES = (WebRoute("GET", "/api/v1/verify", get_verification, READ),)
