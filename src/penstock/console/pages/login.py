"""Signing in and out, and the visitor's own settings: language and theme."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import Form, Query, Request
from starlette.responses import RedirectResponse, Response

from penstock.console.language import COOKIE as LANGUAGE_COOKIE
from penstock.console.language import LANGUAGES
from penstock.console.render import THEME_COOKIE, THEMES, moved, page, page_refusal, shown
from penstock.errors import Forbidden
from penstock.web.callers import Doorkeeper
from penstock.web.links import take_login
from penstock.web.permissions import PUBLIC, WebRoute
from penstock.web.sessions import COOKIE, LIFETIME_S, Session

_YEAR_S = 365 * 86400


def show_login(
    request: Request,
    code: Annotated[str, Query(max_length=100)] = "",
    next: Annotated[str, Query(max_length=500)] = "/",
) -> Response:
    """The form; with a one-time code, straight in."""
    if not code:
        return page(request, "login.html", {"next": _own_path(next), "wrong": ""}, caller=shown(request))
    door: Doorkeeper = request.app.state.door
    identity = take_login(door.app.home, code)
    if not identity:
        return page(request, "login.html", {"next": "/", "wrong": "login.used"}, caller=shown(request), status=403)
    # A page of ours that goes on, not a redirect: a browser sent here by another site would not send the
    # strict cookie along with the next request.
    response = page(request, "welcome.html", {"next": _own_path(next)}, caller=shown(request))
    return _signed_in(request, response, Session(identity=identity, expires_at=time.time() + LIFETIME_S))


def post_login(
    request: Request,
    token: Annotated[str, Form(max_length=500)] = "",
    next: Annotated[str, Form(max_length=500)] = "/",
) -> Response:
    """Sign in with a token; the browser keeps a session, never the token."""
    door: Doorkeeper = request.app.state.door
    token = token.strip()
    try:
        identity = door.identity_of(token)
    except Forbidden:
        context = {"next": _own_path(next), "wrong": "login.wrong"}
        return page(request, "login.html", context, caller=shown(request), status=403)
    session = Session(identity=identity.name, token=token, expires_at=time.time() + LIFETIME_S)
    return _signed_in(request, RedirectResponse(_own_path(next), 303), session)


def post_logout(request: Request) -> Response:
    """Forget the session here and in the browser."""
    door: Doorkeeper = request.app.state.door
    door.sessions.end(request.cookies.get(COOKIE, ""))
    response = moved("/login")
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def post_settings(
    request: Request,
    language: Annotated[str, Form(max_length=10)] = "",
    theme: Annotated[str, Form(max_length=10)] = "",
    next: Annotated[str, Form(max_length=500)] = "/",
) -> Response:
    """Remember language and theme in the browser."""
    response = moved(_own_path(next))
    if language in LANGUAGES:
        _remember(request, response, LANGUAGE_COOKIE, language)
    if theme in THEMES:
        _remember(request, response, THEME_COOKIE, theme)
    return response


def _signed_in(request: Request, response: Response, session: Session) -> Response:
    door: Doorkeeper = request.app.state.door
    secure = request.url.scheme == "https"
    cookie = door.sessions.start(session)
    age = int(session.expires_at - time.time())
    response.set_cookie(COOKIE, cookie, max_age=age, httponly=True, samesite="strict", secure=secure)
    return response


def _remember(request: Request, response: Response, name: str, value: str) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=_YEAR_S, httponly=True, samesite="lax", secure=secure)


def _own_path(wanted: str) -> str:
    """A path on this server, or the first page: never another site's address."""
    own = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if own else "/"


ROUTES = (
    WebRoute("GET", "/login", show_login, PUBLIC, page_refusal, schema=False),
    WebRoute("POST", "/login", post_login, PUBLIC, page_refusal, schema=False),
    WebRoute("POST", "/logout", post_logout, PUBLIC, page_refusal, schema=False),
    WebRoute("POST", "/settings", post_settings, PUBLIC, page_refusal, schema=False),
)
