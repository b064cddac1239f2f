"""The console's sessions: what the browser's cookie stands for, kept here and not in the cookie.

What comes in: a token or a login code that was accepted. What goes out: a cookie value, and later, for that value,
the session it names. The cookie is a random name with our signature over it; nothing can be read from it. Sessions
live in the control plane's memory: a restart signs everybody out.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

COOKIE = "penstock_session"
LIFETIME_S = 8 * 3600.0
_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Session:
    """One browser that signed in.

    Attributes:
        identity: Whose it is.
        token: What they signed in with, asked again at every request so that revoking it ends the session;
            empty after a one-time link, which is bound to the identity instead.
        expires_at: After this they sign in again, however busy they were.
    """

    identity: str
    token: str = ""
    expires_at: float


class Sessions:
    """All sessions of this process."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._open: dict[str, Session] = {}

    def start(self, session: Session) -> str:
        """Keep a session; the answer is its cookie's value."""
        self._forget_expired()
        if len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        name = secrets.token_urlsafe(32)
        self._open[name] = session
        return f"{name}.{self._sign(name)}"

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie's value; None for what we did not sign, do not know, or has expired."""
        name = self._name(cookie)
        session = self._open.get(name)
        if session is None or session.expires_at <= time.time():
            return None
        return session

    def end(self, cookie: str) -> None:
        """Forget a session; one that is not there is no error."""
        self._open.pop(self._name(cookie), None)

    def _name(self, cookie: str) -> str:
        name, _, signature = cookie.partition(".")
        known = hmac.compare_digest(self._sign(name).encode(), signature.encode("utf-8", "replace"))
        return name if known else ""

    def _sign(self, name: str) -> str:
        return hmac.new(self._secret, name.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _forget_expired(self) -> None:
        now = time.time()
        for name in [name for name, session in self._open.items() if session.expires_at <= now]:
            self._open.pop(name, None)
