"""The contract of a function: what a platform calls with its own kind of request, once each.

    event or request (the platform's) -> Handler.ask -> Reply -> the platform's kind of answer

Platforms look for a plain callable in a module, so each implementation's module has one under the name that its
platform knows. It is made when it is first looked for: with the package that ``PENSTOCK_PACKAGE`` names, else with the
folder ``package`` beside the function. Environment variables are read here and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from penstock.errors import BadConfig
from penstock.packages.publickey import PUBLIC
from penstock.serve.calls import Reply
from penstock.serve.handler import Handler, HandlerOptions

PACKAGE = "package"
"""Folder of the package beside a function; the key that must have signed it lies there too, where there is one."""
Deliver = Callable[[Reply], None]


class HttpHeaders(Protocol):
    """A request's headers, as Flask has them."""

    def items(self) -> list[tuple[str, str]]:
        """Each name with each of its values."""


class HttpRequest(Protocol):
    """An HTTP request, as Flask has it."""

    method: str
    path: str
    query_string: bytes
    headers: HttpHeaders

    def get_data(self) -> bytes:
        """The body."""


class ServingFunction(Protocol):
    """What a platform calls.

    Args:
        handler: Answers.
        settings: Of the function.
    """

    def __init__(self, handler: Handler, settings: FunctionSettings) -> None: ...

    def __call__(self, event: object, context: object = None) -> object:
        """The answer in the platform's form.

        Args:
            event: What the platform hands over.
            context: Where it hands over something about the invocation, too.
        """


def print_line(reply: Reply) -> None:
    """An answer as one line on standard output, where every platform collects them."""
    print(reply.body.decode("utf-8", "replace"), flush=True)


class FunctionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a function does beside answering HTTP.

    Attributes:
        path: What an event that is no HTTP request asks for; empty takes the form of the body and the only endpoint.
        base: Start of every path that the platform adds, ``/models``; taken off.
        deliver: Where the answer to an event goes that nobody waits for.
    """

    path: str = ""
    base: str = ""
    deliver: Deliver = print_line


def open_handler(
    beside: Path, *, digest: str = "", version: int = 1, environment: Mapping[str, str] | None = None
) -> Handler:
    """The handler of a function.

    Args:
        beside: The function's folder.
        digest: The package that it has to be; empty takes any.
        version: As answers say it.
        environment: The process's own where not given.

    Raises:
        BadConfig: There is no package, or a variable does not fit.
        PenstockError: The package is not to be trusted, or does not answer as it did where it was made.
    """
    found = os.environ if environment is None else environment
    folder = Path(found.get("PENSTOCK_PACKAGE") or beside / PACKAGE)
    if not (folder / "manifest.json").is_file():
        raise BadConfig(
            "there is no package beside the function", "put it into the folder package, or name it in PENSTOCK_PACKAGE"
        )
    key = Path(found.get("PENSTOCK_KEYS") or folder.parent / PUBLIC)
    token = found.get("PENSTOCK_TOKEN_FILE", "")
    log = found.get("PENSTOCK_LOG_DIR", "")
    environments = found.get("PENSTOCK_ENVIRONMENTS", "")
    options = HandlerOptions(
        name=found.get("PENSTOCK_NAME", ""),
        version=version,
        digest=digest,
        key=key if key.is_file() or "PENSTOCK_KEYS" in found else None,
        environments=Path(environments) if environments else None,
        token=Path(token).read_text().strip() if token else "",
        log=Path(log) if log else None,
        environment=dict(found),
    )
    return Handler(folder, options)


def open_settings(environment: Mapping[str, str] | None = None) -> FunctionSettings:
    """What the environment says of a function."""
    found = os.environ if environment is None else environment
    return FunctionSettings(path=found.get("PENSTOCK_PATH", ""), base=found.get("PENSTOCK_BASE_PATH", ""))


def lines_of(reply: Reply) -> Iterator[tuple[str, str]]:
    """The headers of an answer, names in lower case, its type and prediction id included."""
    yield "content-type", reply.content_type.decode("latin-1")
    for line in reply.headers.split(b"\r\n"):
        name, mark, value = line.partition(b":")
        if mark:
            yield name.strip().decode("latin-1").lower(), value.strip().decode("latin-1")


def without(path: str, base: str) -> str:
    """A path below a base that the platform added."""
    base = base.rstrip("/")
    if base and (path == base or path.startswith(base + "/")):
        return path[len(base) :] or "/"
    return path


def event_path(handler: Handler, settings: FunctionSettings, body: bytes) -> str:
    """Where a body goes that came without a path: tensors with a datatype to V2, everything else to V1."""
    if settings.path:
        return settings.path
    if b'"datatype"' in body:
        return f"/v2/models/{handler.endpoint}/infer"
    return f"/v1/models/{handler.endpoint}:predict"
