"""Outcomes: the truth that came later, joined to predictions by their ids."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body as FromBody
from starlette.responses import Response

from penstock.access.permissions import OUTCOME
from penstock.api.bodies import Acting, OutcomeBody
from penstock.app.outcomes import record_outcomes
from penstock.web.answers import answer
from penstock.web.permissions import WebRoute

_MOST = 100_000
Outcomes = Annotated[list[OutcomeBody], FromBody(max_length=_MOST)]


def post_outcomes(caller: Acting, endpoint: str, outcomes: Outcomes) -> Response:
    """Record outcomes; they are on the disk before this answers."""
    recorded = record_outcomes(caller.app, endpoint, [outcome.record() for outcome in outcomes])
    return answer({"endpoint": endpoint, "recorded": recorded}, status=201)


ROUTES = (WebRoute("POST", "/api/v1/endpoints/{endpoint}/outcomes", post_outcomes, OUTCOME),)
