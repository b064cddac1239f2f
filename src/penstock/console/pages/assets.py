"""The console's own files: a table of three, so that no path is ever made from a request."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

from starlette.responses import Response

from penstock.errors import NotFound
from penstock.web.permissions import PUBLIC, WebRoute

_TYPES = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def _read() -> Mapping[str, tuple[bytes, str]]:
    folder = files("penstock.console") / "static"
    return MappingProxyType({name: ((folder / name).read_bytes(), kind) for name, kind in _TYPES.items()})


_FILES = _read()


def get_asset(name: str) -> Response:
    """One of the console's files."""
    if name not in _FILES:
        raise NotFound("the console has no such file", code="console.no_file")
    data, kind = _FILES[name]
    return Response(data, media_type=kind, headers={"cache-control": "private, max-age=60"})


ROUTES = (WebRoute("GET", "/static/{name}", get_asset, PUBLIC, schema=False),)
