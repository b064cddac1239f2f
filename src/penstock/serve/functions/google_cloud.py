"""Google Cloud Functions and Cloud Run functions: what the Functions Framework calls.

    HTTP request -> the same path on the server -> body, status, headers
    CloudEvent   -> its data is the body (a Pub/Sub message's own data) -> the answer is delivered, or the event failed

The framework opens this in a process that it forks afterwards: what must not be shared is made at the first request.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import quote

import msgspec

from penstock.errors import InvalidInput, Refused, TargetFailed
from penstock.serve.function import (
    FunctionSettings,
    HttpRequest,
    event_path,
    lines_of,
    open_handler,
    open_settings,
    without,
)
from penstock.serve.handler import Handler

Response = tuple[bytes, int, list[tuple[str, str]]]
_JSON = (("content-type", "application/json"),)


class CloudEvent(Protocol):
    """An event, as the cloudevents library has it."""

    data: object


class GoogleFunction:
    """Answers requests and events.

    Args:
        handler: Answers.
        settings: Of the function.
    """

    def __init__(self, handler: Handler, settings: FunctionSettings) -> None:
        self.handler = handler
        self._settings = settings

    def __call__(self, event: object, context: object = None) -> object:
        """The answer to an HTTP request, or to a CloudEvent, which has none.

        Raises:
            PenstockError: An event's data was refused or failed.
        """
        if hasattr(event, "query_string"):
            return self.http(cast("HttpRequest", event))
        self.event(cast("CloudEvent", event))
        return None

    def http(self, request: HttpRequest) -> Response:
        """Body, status and headers."""
        query = request.query_string.decode("latin-1")
        target = quote(without(request.path, self._settings.base), safe="/:@!$&'()*+,;=~") + ("?" + query) * bool(query)
        reply = self.handler.ask(request.method, target, request.headers.items(), request.get_data())
        return b"" if request.method == "HEAD" else reply.body, reply.status, list(lines_of(reply))

    def event(self, event: CloudEvent) -> None:
        """Answer an event's data, and deliver the answer.

        Raises:
            Refused: It fits no model; the platform hears of it, and where it keeps such events is its own setting.
            TargetFailed: It could not be answered.
        """
        body = _body_of(event.data)
        path = event_path(self.handler, self._settings, body)
        reply = self.handler.ask("POST", path, _JSON, body)
        if reply.status >= 400:
            told = msgspec.json.decode(reply.body, type=dict[str, object])
            kind = Refused if reply.status < 500 else TargetFailed
            raise kind(str(told.get("error") or told.get("message") or ""), code=str(told.get("code", "")))
        self._settings.deliver(reply)


def open_function(folder: Path, *, digest: str = "", version: int = 1) -> GoogleFunction:
    """The function.

    Args:
        folder: The function's, with the package beside it.
        digest: The package that it has to be; empty takes any.
        version: As answers say it.

    Raises:
        PenstockError: See `penstock.serve.function.open_handler`; the function does not start.
    """
    return GoogleFunction(open_handler(folder, digest=digest, version=version), open_settings())


def _body_of(data: object) -> bytes:
    """What an event asks, as JSON.

    Raises:
        InvalidInput: It is neither JSON nor text.
    """
    message = data.get("message") if isinstance(data, Mapping) else None
    if isinstance(message, Mapping) and isinstance(message.get("data"), str):
        try:
            return base64.b64decode(message["data"], validate=True)
        except binascii.Error:
            raise InvalidInput("the message is not the base64 that it should be", where="message.data") from None
    if isinstance(data, bytes):
        return data
    return data.encode() if isinstance(data, str) else msgspec.json.encode(data)


def __getattr__(name: str) -> Callable[[object], object]:
    """``predict`` and ``predict_event``, made when the framework looks for one; it takes nothing but plain functions.

    Raises:
        AttributeError: It is another name.
    """
    if name not in ("predict", "predict_event"):
        raise AttributeError(name)
    function = open_function(Path.cwd())

    def predict(request: object) -> object:
        return function(request)

    globals().update(predict=predict, predict_event=predict)
    return predict
