"""From a template and its context to a page in the visitor's language.

What comes in: who is visiting, a template's name, what it shows. What goes out: HTML. Everything is escaped; a name
the context does not have is an error. Errors become pages too, and who is not signed in is asked to.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from penstock.access import permissions
from penstock.console import writing
from penstock.console.language import LANGUAGES, Texts, texts_of
from penstock.web.callers import Caller, request_id_of
from penstock.web.refusals import refusal_headers, refusal_of

THEME_COOKIE = "penstock_theme"
THEMES = ("auto", "light", "dark")
DONE = frozenset({"released", "rolled_back", "approved", "checked"})
_FILTERS = ("count", "duration", "percent", "rate", "figure", "evidence", "size", "moment", "iso", "digest")


def _environment() -> Environment:
    # Every template is HTML, whatever its name ends in.
    made = Environment(
        loader=PackageLoader("penstock.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update({name: getattr(writing, name) for name in _FILTERS})
    made.globals.update({"LANGUAGES": LANGUAGES, "THEMES": THEMES})
    made.globals.update(
        {name: getattr(permissions, name) for name in ("READ", "CHECK", "APPROVE", "RELEASE", "ROLLBACK")}
    )
    return made


_ENVIRONMENT = _environment()


def page(
    request: Request, template: str, context: Mapping[str, object], *, caller: Caller | None = None, status: int = 200
) -> HTMLResponse:
    """A page of the console; `caller` is whose name and buttons it shows."""
    texts = texts_of(request)
    theme = request.cookies.get(THEME_COOKIE, "")
    frame = {
        "t": texts,
        "caller": caller,
        "theme": theme if theme in THEMES else "auto",
        "here": request.url.path,
        "query": request.url.query,
        "done": done if (done := request.query_params.get("done", "")) in DONE else "",
    }
    return HTMLResponse(_ENVIRONMENT.get_template(template).render({**frame, **context}), status)


def shown(request: Request) -> Caller:
    """The caller whom the route's guard admitted."""
    caller: Caller = request.state.caller
    return caller


def moved(path: str, done: str = "") -> RedirectResponse:
    """Go and look at what came of it: the answer to every form."""
    return RedirectResponse(f"{path}?done={done}" if done else path, 303)


def page_refusal(error: Exception, request: Request) -> Response:
    """An error as a page; who is not signed in goes to the login page, and from there back to where they were."""
    status, refusal = refusal_of(error, request_id_of(request))
    if status == 401:
        wanted = request.url.path if request.method == "GET" else "/"
        return RedirectResponse(f"/login?next={quote(wanted, safe='/')}", 303)
    caller: Caller | None = getattr(request.state, "caller", None)
    response = page(request, "error.html", {"refusal": refusal, "status": status}, caller=caller, status=status)
    response.headers.update(refusal_headers(error, status))
    return response


def words(request: Request) -> Texts:
    """The visitor's language, for text that is made before the page is."""
    return texts_of(request)
