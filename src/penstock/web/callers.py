"""Who is calling: from a request's headers to an App that acts under the caller's identity.

What comes in: an ``Authorization: Bearer`` header or the console's session cookie. What goes out: a `Caller`, or
a refusal. Roles, expiry and revocation are asked of the registry at every request; nothing is remembered here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastapi import Request

from penstock.access.identities import Identity, may, require
from penstock.app.app import App
from penstock.errors import Forbidden, NotFound, Refused
from penstock.web.refusals import unauthenticated
from penstock.web.sessions import COOKIE, Session, Sessions

NOBODY = Identity(name="", roles=())
"""Who has not said who they are."""


@dataclass(frozen=True)
class Caller:
    """Who is calling, and the App that acts for them.

    Attributes:
        session: Set where they came with the console's cookie.
        request_id: Names this request in answers and in the log.
    """

    app: App
    session: Session | None = None
    request_id: str = ""

    @property
    def identity(self) -> Identity:
        """Whose identity the App acts under."""
        return self.app.identity

    @property
    def known(self) -> bool:
        """Whether they are anybody."""
        return bool(self.identity.name)

    def may(self, permission: str, *, endpoint: str = "") -> bool:
        """Whether they may do this: what the console asks before it shows a button."""
        return may(self.identity, permission, endpoint=endpoint)


class Doorkeeper:
    """Lets callers in: every request passes `admit` before anything of it is read."""

    def __init__(self, app: App, sessions: Sessions) -> None:
        self.app = app
        self.sessions = sessions

    def admit(self, request: Request, permission: str | None) -> Caller:
        """The caller of a request, who may do what the route demands; None demands nothing.

        Raises:
            Forbidden: Nobody is recognised (code ``access.unauthenticated``), or they may not.
        """
        identity, session = self._recognise(request)
        caller = Caller(replace(self.app, identity=identity), session, request_id_of(request))
        if permission is None:
            return caller
        if not caller.known:
            raise unauthenticated()
        require(identity, permission, endpoint=request.path_params.get("endpoint", ""))
        return caller

    def identity_of(self, token: str) -> Identity:
        """Whose a token is.

        Raises:
            Forbidden: It is unknown, revoked or expired; all three read alike.
        """
        try:
            return self.app.registry.identity_of(token)
        except Refused as error:
            raise unauthenticated() from error

    def _recognise(self, request: Request) -> tuple[Identity, Session | None]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme:
            # A token that is wrong is refused, never overlooked in favour of a cookie.
            return (self._bearer(token.strip()) if scheme.lower() == "bearer" else NOBODY), None
        session = self.sessions.find(request.cookies.get(COOKIE, ""))
        if session is None:
            return NOBODY, None
        try:
            return self._owner(session), session
        except (Forbidden, NotFound):
            return NOBODY, None

    def _bearer(self, token: str) -> Identity:
        try:
            return self.identity_of(token)
        except Forbidden:
            return NOBODY

    def _owner(self, session: Session) -> Identity:
        if session.token:
            return self.identity_of(session.token)
        record = self.app.state().identities.get(session.identity)
        if record is None or not record.roles:
            raise unauthenticated()
        return Identity(name=record.name, roles=record.roles)


def request_id_of(request: Request) -> str:
    """The id the shield gave to this request."""
    return str(request.scope.get("penstock.request_id", ""))


def caller_of(request: Request) -> Caller:
    """The caller the route's guard admitted; FastAPI hands it to handlers that ask for it."""
    caller: Caller = request.state.caller
    return caller
