"""Stage 4, serve: what this worker answers by, as one value that is replaced whole.

Snapshot + proven models --lay--> endpoints by name   (one pointer moves; a request holds on to what it chose)
Snapshot.grants          --> grants by token hash     (at once: a revoked token must not wait for a model)
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from hashlib import sha256

from penstock.errors import Forbidden, NotReady
from penstock.records import Grant, Manifest, Route, Snapshot
from penstock.serve.cards import unknown_endpoint
from penstock.serve.models import Model
from penstock.serve.rates import Rates
from penstock.serve.resting import Resting
from penstock.serve.router import Arm, lay_out
from penstock.serve.thresholds import check
from penstock.serve.torchkeys import TorchKeys
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
        allow: What callers without a token may do on public routes, beside asking.
        strict: Not ready while an endpoint is unloaded.
        rates: Where limited subjects are counted; None holds nobody to a rate.

    Attributes:
        keys: TorchServe's, where they are wanted: nothing is public then.
        fronted: A platform's front lets through whom it knows, so that routes may be public, too.
        epoch: Another object after each change of what is live or of who may ask.
        routes: As announced, by endpoint.
        asleep: Endpoints that were unloaded.
        resting: The same, and those on their way back.
        rested: Number of the file that says so.
        distrusted: Endpoints that do not answer here because nobody whom we trust signed their package.
    """

    def __init__(
        self, *, loopback: bool, allow: frozenset[str] = frozenset(), strict: bool = False, rates: Rates | None = None
    ) -> None:
        self._rates = rates
        self.endpoints: dict[str, ServedEndpoint] = {}
        self.expected: frozenset[str] = frozenset()
        self.grants: dict[str, Grant] = {}
        self.number = 0
        self.epoch = object()
        self.settled = False
        self.draining = False
        self.routes: Mapping[str, Route] = {}
        self.asleep: frozenset[str] = frozenset()
        self.rested = 0
        self.resting: frozenset[str] = frozenset()
        self.distrusted: frozenset[str] = frozenset()
        self._public: frozenset[str] = frozenset()
        self._lasting: frozenset[str] = frozenset()
        self.loopback = loopback
        self.fronted = False
        self.keys: TorchKeys | None = None
        self._allow = allow
        self._strict = strict

    def announce(self, snapshot: Snapshot) -> None:
        """Take a snapshot's grants and names at once; its routes come when their models are proven."""
        self.grants = {grant.token_sha256: grant for grant in snapshot.grants}
        self.routes = {route.endpoint: route for route in snapshot.routes}
        self.expected = frozenset(self.routes)
        # One that was added at run time is not there before it is proven: only who added it waits for it.
        self._lasting = frozenset(route.endpoint for route in snapshot.routes if not route.source)
        self._public = frozenset(route.endpoint for route in snapshot.routes if route.public)
        self.epoch = object()

    def rest(self, snapshot: Snapshot | None, resting: Resting) -> None:
        """Take endpoints that were unloaded off at once, and expect back those that were loaded again."""
        routes = snapshot.routes if snapshot else ()
        asleep = frozenset(route.endpoint for route in routes if resting.covers(route.endpoint, route.release))
        back = self.resting & self.expected - self.endpoints.keys()
        self.asleep, self.resting, self.rested = asleep, asleep | back, resting.number
        self.endpoints = {name: one for name, one in self.endpoints.items() if name not in asleep}
        self.epoch = object()

    def distrust(self, snapshot: Snapshot, digests: Set[str]) -> frozenset[str]:
        """Which endpoints cannot answer here for want of a trusted signature; none of those that answer already."""
        self.distrusted = frozenset(
            route.endpoint
            for route in snapshot.routes
            if route.endpoint not in self.endpoints and any(one.digest in digests for one in route.variants)
        )
        return self.distrusted

    def lay(self, snapshot: Snapshot, models: Mapping[str, Model]) -> dict[str, ServedEndpoint]:
        """The endpoints of a snapshot, not yet live.

        Raises:
            BadConfig: A release's thresholds do not fit its model.
        """
        return {
            route.endpoint: ServedEndpoint(route, models, public=route.public and self.may_be_public)
            for route in snapshot.routes
            if any(not variant.shadow for variant in route.variants)
        }

    def move(self, endpoints: dict[str, ServedEndpoint], number: int) -> None:
        """Make them live."""
        self.endpoints = endpoints
        self.resting = self.resting - endpoints.keys()
        self.distrusted = self.distrusted - endpoints.keys()
        self.number = number
        self.epoch = object()

    def ready(self) -> bool:
        """Whether this worker takes requests and every endpoint it should have answers."""
        due = (self._lasting if self._strict else self._lasting - self.resting) - self.distrusted
        return self.settled and not self.draining and due <= self.endpoints.keys()

    def answers(self) -> bool:
        """Whether every endpoint of this worker's snapshot answers just now, those included that were unloaded."""
        there = self.settled and not self.draining and not self.asleep and self._lasting <= self.endpoints.keys()
        return there and not any(arm.model.lane.trouble() for one in self.endpoints.values() for arm in one.arms)

    @property
    def may_be_public(self) -> bool:
        """Whether a route that is public needs no token here."""
        return (self.loopback or self.fronted) and self.keys is None

    def endpoint(self, name: str) -> ServedEndpoint:
        """An endpoint by name; no name means the only one.

        Raises:
            NotFound: There is none.
            NotReady: It is on its way, or was unloaded.
        """
        if not name and len(self.expected) == 1:
            (name,) = self.expected
        found = self.endpoints.get(name)
        if found is not None:
            return found
        if name in self.resting:
            raise NotReady("the endpoint is unloaded", "load it, or release a version", code="serve.unloaded")
        if name in self.distrusted:
            raise NotReady(
                "the endpoint's package bears no trusted signature",
                "have it signed anew, or release another version",
                code="serve.distrusted",
            )
        if name in self.expected or not self.settled:
            raise NotReady("the endpoint is still loading", "ask again in a moment")
        raise unknown_endpoint()

    def admit(self, headers: Mapping[bytes, bytes], now: float) -> None:
        """Look at who asks before a byte of the body says for which endpoint.

        Raises:
            Forbidden: Nothing is public here, and the token is none.
        """
        if not (self.may_be_public and self._public) and self.grant(headers, now) is None:
            raise unauthenticated()

    def authorize(self, endpoint: ServedEndpoint, headers: Mapping[bytes, bytes], now: float) -> str:
        """Who asks, where they may; empty for nobody in particular on a public route.

        Raises:
            Forbidden: No token, one that is unknown or expired, or one that is for something else.
            Overloaded: They ask more often than they may.
        """
        grant = self.grant(headers, now) if b"authorization" in headers or not endpoint.public else None
        if grant is None:
            if endpoint.public:
                return ""
            raise unauthenticated()
        if PREDICT in grant.permissions and (not grant.endpoints or endpoint.route.endpoint in grant.endpoints):
            if grant.rate_per_s and self._rates is not None:
                self._rates.take(grant)
            return grant.subject
        if endpoint.public:
            return ""
        raise Forbidden("the token may not ask this endpoint", "ask its owner for one that may")

    def may(self, permission: str, headers: Mapping[bytes, bytes], now: float, *, endpoint: str = "") -> str:
        """Who asks for something other than a prediction, where they may.

        Args:
            permission: What it takes.
            headers: Of the call.
            now: Seconds since the epoch.
            endpoint: What it is about; empty where it is about none.

        Raises:
            Forbidden: No token, one that is unknown or expired, or one that is for something else.
        """
        grant = self.grant(headers, now)
        if grant is not None:
            if permission in grant.permissions and (not endpoint or not grant.endpoints or endpoint in grant.endpoints):
                return grant.subject
            raise Forbidden(f"the token may not {permission}", "ask for one that may")
        # Where there is nothing yet, nothing is public either once somebody has a token.
        open_ = self.open() and bool(self.expected or not self.grants)
        # A page in a browser can send to this machine, too; it cannot leave out where it came from.
        if open_ and permission in self._allow and b"origin" not in headers:
            return ""
        if open_:
            raise Forbidden(
                f"without a token nobody may {permission} here",
                f"serve with --allow {permission}, or send a token that may",
            )
        raise unauthenticated()

    def grant(self, headers: Mapping[bytes, bytes], now: float) -> Grant | None:
        """The grant of the bearer token of a request, unless it is over."""
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        hashed = sha256(token.strip()).hexdigest()
        grant = self.grants.get(hashed)
        if grant is None and self.keys is not None:
            return self.keys.find(hashed, now)
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
        return self.may_be_public and self.expected <= self._public

    def _open(self, name: str) -> bool:
        endpoint = self.endpoints.get(name)
        return self.may_be_public and name in self._public if endpoint is None else endpoint.public


def unauthenticated() -> Forbidden:
    """The refusal of somebody unknown."""
    return Forbidden("a token is needed", "send Authorization: Bearer and a token", code="access.unauthenticated")
