"""The one-time login link: how `penstock up` opens a browser that is signed in already.

What comes in: an App whose identity may administer. What goes out: a path with a code, good once and for a minute.
Only the code's hash is on disk, in ``run/logins/``, so that the process that prints the link need not be the one
that answers it; taking it means removing the file, which only one caller can do.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import suppress
from pathlib import Path

from penstock.access.files import make_folder, write_whole
from penstock.access.identities import may, require
from penstock.access.permissions import ADMIN
from penstock.app.app import App
from penstock.errors import Corrupt
from penstock.records import Record, decode, encode

LIFETIME_S = 120.0


class Login(Record, frozen=True, kw_only=True):
    """Whom the code signs in, and until when."""

    identity: str
    expires_at: float


def login_link(app: App) -> str:
    """Path and query of a link that signs its first visitor in as the App's identity; see `LIFETIME_S`.

    Raises:
        Forbidden: The identity may not administer.
    """
    require(app.identity, ADMIN)
    code = secrets.token_urlsafe(32)
    path = _place(app.home, code)
    make_folder(path.parent)
    _clear(path.parent)
    write_whole(path, encode(Login(identity=app.identity.name, expires_at=time.time() + LIFETIME_S)))
    return f"/login?code={code}"


def take_login(home: Path, code: str) -> str:
    """The identity a code signs in; empty when it is unknown, used or too old. It is used up either way."""
    path = _place(home, code)
    try:
        login = decode(path.read_bytes(), Login)
        path.unlink()
    except (OSError, Corrupt):
        return ""
    return login.identity if login.expires_at > time.time() else ""


def _place(home: Path, code: str) -> Path:
    return home / "run" / "logins" / hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()


def _clear(folder: Path) -> None:
    """Remove what nobody used in time."""
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - LIFETIME_S:
                path.unlink()


def console_link(app: App, console: str) -> str:
    """The console's address; for who may administer, one that signs them in, once."""
    return f"{console}{login_link(app)}" if may(app.identity, ADMIN) else console
