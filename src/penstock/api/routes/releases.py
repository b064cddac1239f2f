"""Releases of an endpoint: wish for one, take it back, see what came of each."""

from __future__ import annotations

from starlette.responses import Response

from penstock.access.identities import require
from penstock.access.permissions import BYPASS, READ, RELEASE, ROLLBACK
from penstock.api.bodies import Acting, Expected, ReleaseBody, RollbackBody
from penstock.app.releasing import ReleaseRequest, release, rollback
from penstock.errors import NotFound
from penstock.web.answers import answer, hold_generation
from penstock.web.permissions import WebRoute


def list_releases(caller: Acting, endpoint: str) -> Response:
    """All revisions of the endpoint's release, oldest first, with what came of them."""
    state = caller.app.state()
    known = state.endpoint(endpoint)
    body = {"releases": known.releases, "settled": known.settled}
    return answer(body, generation=state.generation(f"endpoint/{endpoint}"))


def get_release(caller: Acting, endpoint: str, revision: int) -> Response:
    """One revision with its steps."""
    known = caller.app.state().endpoint(endpoint)
    if not 1 <= revision <= len(known.releases):
        raise NotFound("the endpoint has no such release", f"its releases are 1 to {len(known.releases)}")
    steps = known.steps_of(revision)
    return answer({"release": known.releases[revision - 1], "steps": steps, "settled": known.settled.get(revision)})


def request_release(caller: Acting, endpoint: str, body: ReleaseBody, expect: Expected = None) -> Response:
    """Wish for a release; the control plane brings it about step by step."""
    if body.bypass:
        require(caller.identity, BYPASS, endpoint=endpoint)
    hold_generation(caller.app, f"endpoint/{endpoint}", expect)
    wish = ReleaseRequest(
        endpoint=endpoint,
        strategy=body.strategy,
        target=body.target,
        guards=body.guards.record() if body.guards else None,
        limits=body.limits.record() if body.limits else None,
        reason=body.reason,
        bypass=body.bypass,
    )
    return _requested(caller, release(caller.app, body.version, wish), endpoint)


def request_rollback(caller: Acting, endpoint: str, body: RollbackBody, expect: Expected = None) -> Response:
    """Take the endpoint back to an earlier release, whole."""
    hold_generation(caller.app, f"endpoint/{endpoint}", expect)
    return _requested(caller, rollback(caller.app, endpoint, to=body.to, reason=body.reason), endpoint)


def _requested(caller: Acting, record: object, endpoint: str) -> Response:
    return answer(record, status=201, generation=caller.app.state().generation(f"endpoint/{endpoint}"))


ROUTES = (
    WebRoute("GET", "/api/v1/endpoints/{endpoint}/releases", list_releases, READ),
    WebRoute("GET", "/api/v1/endpoints/{endpoint}/releases/{revision}", get_release, READ),
    WebRoute("POST", "/api/v1/endpoints/{endpoint}/releases", request_release, RELEASE),
    WebRoute("POST", "/api/v1/endpoints/{endpoint}/rollback", request_rollback, ROLLBACK),
)
