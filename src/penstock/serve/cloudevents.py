"""Stage 4, serve: CloudEvents over HTTP, so that what an event bus delivers is predicted and answered as an event.

    ce-* headers, the data as body          --read_event--> EventBody --its data--> a dialect's request
    application/cloudevents+json, one JSON object --'
    a dialect's answer --answered--> the same mode: io.kserve.inference.response from io.kserve.inference.ENDPOINT

Source: CloudEvents 1.0, its HTTP protocol binding and JSON format; KServe's V1 for the names in an answer. ``time`` is
optional, as in CloudEvents.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from penstock.errors import InvalidInput
from penstock.serve.calls import Call, Reply
from penstock.serve.protocol import Explanation, Prediction
from penstock.serve.tensordata import parse

STRUCTURED = b"application/cloudevents+json"
_BATCH = b"application/cloudevents-batch"
_REQUIRED = ("specversion", "id", "source", "type")
_HEADERS = frozenset(f"ce-{name}".encode() for name in _REQUIRED)
_VERSIONS = frozenset({"1.0", "0.3"})
_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_TYPE = "io.kserve.inference.response"
_encode = msgspec.json.Encoder().encode


class EventBody(NamedTuple):
    """An event as it was received.

    Attributes:
        data: The request in it.
        structured: It was one JSON object, and not headers beside a body.
        received_at: Seconds since the epoch.
    """

    data: bytes
    structured: bool
    received_at: float


class _Envelope(msgspec.Struct):
    specversion: str = ""
    id: str = ""
    source: str = ""
    type: str = ""
    time: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None


_decode = msgspec.json.Decoder(_Envelope).decode
_decode_text = msgspec.json.Decoder(str).decode


def is_event(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a call's headers say that it is an event, a malformed one included."""
    return not _HEADERS.isdisjoint(headers) or _kind(headers).startswith((STRUCTURED, _BATCH))


def read_event(call: Call) -> EventBody | None:
    """The event that a call is; None where it is none.

    Raises:
        InvalidInput: It is malformed; with the attribute's name.
    """
    headers = call.headers
    if not is_event(headers):
        return None
    kind = _kind(headers)
    if kind.startswith(_BATCH):
        raise InvalidInput("batches of events are not spoken", "send one event a request", where="headers.content-type")
    if kind.startswith(STRUCTURED):
        return EventBody(_unwrapped(parse(call.body, _decode)), True, call.received_at)
    attributes = {name: _text(headers, f"ce-{name}") for name in (*_REQUIRED, "time")}
    _check(attributes, "headers.ce-")
    return EventBody(call.body, False, call.received_at)


def answered(event: EventBody, reply: Reply, answer: Prediction | Explanation, environment: Mapping[str, str]) -> Reply:
    """A reply as an event of the request's mode.

    Args:
        event: The request's.
        reply: The dialect's answer, in JSON.
        answer: Whose id and endpoint the event tells.
        environment: ``CE_TYPE`` and ``CE_SOURCE`` stand for the usual words, as in KServe.
    """
    attributes = {
        "specversion": "1.0",
        "id": answer.id,
        "source": environment.get("CE_SOURCE") or f"io.kserve.inference.{answer.endpoint}",
        "type": environment.get("CE_TYPE") or _TYPE,
        "time": datetime.fromtimestamp(event.received_at, UTC).isoformat(),
    }
    if event.structured:
        body = _encode({**attributes, "datacontenttype": "application/json", "data": msgspec.Raw(reply.body)})
        return Reply(reply.status, body, STRUCTURED, reply.headers)
    lines = "".join(f"ce-{name}: {quote(value, safe=_PRINTABLE)}\r\n" for name, value in attributes.items())
    return Reply(reply.status, reply.body, reply.content_type, reply.headers + lines.encode())


def _unwrapped(envelope: _Envelope) -> bytes:
    """The data of a structured event: JSON as it stands, JSON in a text, or base64."""
    _check({name: getattr(envelope, name) or "" for name in (*_REQUIRED, "time")}, "")
    data = envelope.data
    if envelope.data_base64 is not None:
        if not isinstance(data, msgspec.UnsetType):
            raise InvalidInput("there are both data and data_base64", "send one of them", where="data_base64")
        try:
            return b64decode(envelope.data_base64, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput("this is no base64", "send the data themselves", where="data_base64") from None
    if isinstance(data, msgspec.UnsetType):
        raise InvalidInput("the event has no data", "send the request in it", where="data")
    text = bytes(data)
    return parse(text, _decode_text).encode() if text.lstrip()[:1] == b'"' else text


def _check(attributes: Mapping[str, str], where: str) -> None:
    """Refuse an event without what every event has.

    Raises:
        InvalidInput: With the attribute's name.
    """
    for name in _REQUIRED:
        if not attributes[name]:
            raise InvalidInput("the event lacks an attribute", f"send {', '.join(_REQUIRED)}", where=f"{where}{name}")
    if attributes["specversion"] not in _VERSIONS:
        raise InvalidInput("this version of CloudEvents is not spoken", "send 1.0", where=f"{where}specversion")
    if attributes["time"]:
        try:
            datetime.fromisoformat(attributes["time"])
        except ValueError:
            raise InvalidInput("this is not a time", "send RFC 3339, or none", where=f"{where}time") from None


def _kind(headers: Mapping[bytes, bytes]) -> bytes:
    return headers.get(b"content-type", b"").lower()


def _text(headers: Mapping[bytes, bytes], name: str) -> str:
    return headers.get(name.encode(), b"").decode("utf-8", "replace").strip()
