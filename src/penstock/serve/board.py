"""Stage 4, serve: what this worker answers by, as one value that is replaced whole.

Snapshot + proven models --lay--> endpoints by name   (one pointer moves; a request holds on to what it chose)
Snapshot.grants          --> grants by token hash     (at once: a revoked token must not wait for a model)
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from penstock.errors import Forbidden, NotReady
from penstock.records import Grant, Manifest, Route, Snapshot
from penstock.serve.models import Model
from penstock.serve.protocol import unknown_endpoint
from penstock.serve.router import Arm, lay_out
from penstock.serve.thresholds import check
from penstock.tensors import Signature

PREDICT = "predict"
READ = "read"


class ServedEndpoint:
    """A route with its models.

    Attributes:
        arms: Answering variants along [0, 1).
        shadows: Those that get a copy and answer nobody.
        signature: The first answering variant's; a request is conformed to its own variant's.
    """

    __slots__ = ("arms", "manifest", "public", "route", "shadows", "signature")

    def __init__(self, route: Route, models: Mapping[str, Model], *, public: bool) -> None:
        self.route = route
        self.public = public
        self.arms: tuple[Arm, ...] = lay_out([one for one in route.variants if not one.shadow], models)
        self.shadows: tuple[Arm, ...] = lay_out([one for one in route.variants if one.shadow], models)
        for arm in self.arms:
            check(route.thresholds, arm.model.manifest)
        self.manifest: Manifest = self.arms[0].model.manifest
        self.signature: Signature = self.manifest.signature


class Board:
    """The pointer that moves.

    Args:
        loopback: Only this machine can reach the listener, so that routes may be public.

    Attributes:
        epoch: Another object after each change of what is live or of who may ask.
    """

    def __init__(self, *, loopback: bool) -> None:
        self.endpoints: dict[str, ServedEndpoint] = {}
        self.expected: frozenset[str] = frozenset()
        self.grants: dict[str, Grant] = {}
        self.number = 0
        self.epoch = object()
        self.settled = False
        self.draining = False
        self._loopback = loopback

    def announce(self, snapshot: Snapshot) -> None:
        """Take a snapshot's grants and names at once; its routes come when their models are proven."""
        self.grants = {grant.token_sha256: grant for grant in snapshot.grants}
        self.expected = frozenset(route.endpoint for route in snapshot.routes)
        self.epoch = object()

    def lay(self, snapshot: Snapshot, models: Mapping[str, Model]) -> dict[str, ServedEndpoint]:
        """The endpoints of a snapshot, not yet live.

        Raises:
            BadConfig: A release's thresholds do not fit its model.
        """
        return {
            route.endpoint: ServedEndpoint(route, models, public=route.public and self._loopback)
            for route in snapshot.routes
            if any(not variant.shadow for variant in route.variants)
        }

    def move(self, endpoints: dict[str, ServedEndpoint], number: int) -> None:
        """Make them live."""
        self.endpoints = endpoints
        self.number = number
        self.epoch = object()

    def ready(self) -> bool:
        """Whether this worker takes requests and every endpoint it should have answers."""
        return self.settled and not self.draining and self.expected <= self.endpoints.keys()

    def endpoint(self, name: str) -> ServedEndpoint:
        """An endpoint by name.

        Raises:
            NotFound: There is none.
            NotReady: It is on its way.
        """
        found = self.endpoints.get(name)
        if found is not None:
            return found
        if name in self.expected or not self.settled:
            raise NotReady("the endpoint is still loading", "ask again in a moment")
        raise unknown_endpoint()

    def authorize(self, endpoint: ServedEndpoint, headers: Mapping[bytes, bytes], now: float) -> str:
        """Who asks, where they may; empty for nobody in particular on a public route.

        Raises:
            Forbidden: No token, one that is unknown or expired, or one that is for something else.
        """
        grant = self.grant(headers, now) if b"authorization" in headers or not endpoint.public else None
        if grant is None:
            if endpoint.public:
                return ""
            raise unauthenticated()
        if PREDICT in grant.permissions and (not grant.endpoints or endpoint.route.endpoint in grant.endpoints):
            return grant.subject
        if endpoint.public:
            return ""
        raise Forbidden("the token may not ask this endpoint", "ask its owner for one that may")

    def grant(self, headers: Mapping[bytes, bytes], now: float) -> Grant | None:
        """The grant of the bearer token of a request, unless it is over."""
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        grant = self.grants.get(sha256(token.strip()).hexdigest())
        return None if grant is None or (grant.expires_at and now >= grant.expires_at) else grant

    def visible(self, headers: Mapping[bytes, bytes], now: float) -> dict[str, ServedEndpoint | None]:
        """Endpoints a caller may see, those on their way as None."""
        grant = self.grant(headers, now)
        names = dict.fromkeys(sorted(self.endpoints.keys() | self.expected))
        return {
            name: self.endpoints.get(name)
            for name in names
            if self._open(name) or (grant and (not grant.endpoints or name in grant.endpoints))
        }

    def open(self) -> bool:
        """Whether everything this worker says is for everybody."""
        return self._loopback and all(endpoint.public for endpoint in self.endpoints.values())

    def _open(self, name: str) -> bool:
        endpoint = self.endpoints.get(name)
        return self._loopback if endpoint is None else endpoint.public


def unauthenticated() -> Forbidden:
    """The refusal of somebody unknown."""
    return Forbidden("a token is needed", "send Authorization: Bearer and a token", code="access.unauthenticated")
