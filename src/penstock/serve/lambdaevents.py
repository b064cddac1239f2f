"""AWS Lambda's events: what each asks for, and the form its answer takes.

    event -> HttpEvent (REST v1, HTTP v2, function URL, load balancer) -> response of the same kind
          `-> Records (SQS, Kinesis, Kafka, SNS), each with the name by which its failure is told
          `-> neither: the event is the body itself

Source: AWS Lambda developer guide ("Proxy integration", "Function URLs", "Application Load Balancer", "Partial batch
response").
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast
from urllib.parse import quote, unquote, urlencode

from penstock.errors import InvalidInput
from penstock.serve.calls import Reply
from penstock.serve.function import lines_of

Event = Mapping[str, object]
_PHRASES = {
    200: "OK", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 413: "Content Too Large",
    415: "Unsupported Media Type", 429: "Too Many Requests", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
"""What load balancers want beside a code; the library's own table takes longer to import than all of this file."""
_TEXT = ("text/", "application/json", "application/problem+json", "application/x-ndjson")


class HttpEvent(NamedTuple):
    """An HTTP request as Lambda hands it over.

    Attributes:
        kind: ``rest`` (v1), ``http`` (v2, function URLs too) or ``balancer``.
        target: Path and query, percent-encoded.
        many: The load balancer sends, and wants, lists of values.
    """

    kind: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    many: bool = False


class EventRecord(NamedTuple):
    """One of a batch.

    Attributes:
        name: By which its failure is told; None where the source takes no such thing.
        body: None where it cannot be read.
    """

    name: object
    body: bytes | None


def http_event(event: Event) -> HttpEvent | None:
    """The HTTP request that an event is; None where it is none.

    Raises:
        InvalidInput: It is one whose body is not what it says.
    """
    context = _mapping(event.get("requestContext"))
    if "http" in context and "rawPath" in event:
        return _version_2(event, context)
    if "httpMethod" not in event or "path" not in event:
        return None
    balancer = "elb" in context
    many = _mapping(event.get("multiValueHeaders"))
    if many:
        headers = [(name, str(value)) for name, values in many.items() for value in _list(values)]
    else:
        headers = [(name, str(value)) for name, value in _mapping(event.get("headers")).items()]
    path = str(event["path"])
    return HttpEvent(
        "balancer" if balancer else "rest",
        str(event["httpMethod"]),
        (path if balancer else quote(unquote(path), safe="/:@!$&'()*+,;=~")) + _query(event, encoded=balancer),
        tuple(headers),
        _body(event),
        balancer and bool(many),
    )


def http_answer(asked: HttpEvent, reply: Reply) -> dict[str, object]:
    """The reply in the form that the event's sender takes."""
    kind = reply.content_type.decode("latin-1")
    text = kind.startswith(_TEXT)
    lines = list(lines_of(reply))
    answer: dict[str, object] = {"statusCode": reply.status, "isBase64Encoded": not text}
    answer["body"] = reply.body.decode("utf-8", "replace") if text else base64.b64encode(reply.body).decode()
    if asked.kind == "balancer":
        answer["statusDescription"] = f"{reply.status} {_PHRASES.get(reply.status, 'Other')}"
    if asked.many or (asked.kind == "rest" and len(dict(lines)) < len(lines)):
        together: dict[str, list[str]] = {}
        for name, value in lines:
            together.setdefault(name, []).append(value)
        answer["multiValueHeaders"] = together
    else:
        answer["headers"] = {name: ",".join(value for one, value in lines if one == name) for name, _ in lines}
    return answer


def event_records(event: Event) -> tuple[EventRecord, ...] | None:
    """The records of a batch; None where it is none."""
    records = event.get("records")
    if "kafka" in str(event.get("eventSource", "")).lower() and isinstance(records, Mapping):
        return tuple(_of_kafka(records))
    found = event.get("Records")
    if not isinstance(found, list) or not found:
        return None
    known = [_of_record(_mapping(one)) for one in found]
    return tuple(one for one in known if one is not None) if all(one is not None for one in known) else None


def _version_2(event: Event, context: Event) -> HttpEvent:
    http = _mapping(context["http"])
    path, stage = str(event["rawPath"]), str(context.get("stage", "$default"))
    if stage != "$default" and (path == f"/{stage}" or path.startswith(f"/{stage}/")):
        path = path.removeprefix(f"/{stage}") or "/"
    query = str(event.get("rawQueryString") or "")
    headers = [(name, str(value)) for name, value in _mapping(event.get("headers")).items()]
    cookies = [str(one) for one in _list(event.get("cookies"))]
    if cookies:
        headers.append(("cookie", "; ".join(cookies)))
    target = f"{path}?{query}" if query else path
    return HttpEvent("http", str(http.get("method", "GET")), target, tuple(headers), _body(event))


def _query(event: Event, *, encoded: bool) -> str:
    """The query with its question mark; a load balancer leaves it percent-encoded."""
    many = _mapping(event.get("multiValueQueryStringParameters"))
    single = _mapping(event.get("queryStringParameters"))
    pairs = [(name, str(value)) for name, values in many.items() for value in _list(values)]
    pairs = pairs or [(name, str(value)) for name, value in single.items()]
    if not pairs:
        return ""
    return "?" + ("&".join(f"{name}={value}" for name, value in pairs) if encoded else urlencode(pairs))


def _body(event: Event) -> bytes:
    body = event.get("body")
    text = "" if body is None else str(body)
    return _decoded(text) if event.get("isBase64Encoded") else text.encode()


def _decoded(text: str) -> bytes:
    """Errors: InvalidInput where it is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("the body is not the base64 that it says it is", where="body") from None


def _of_record(record: Event) -> EventRecord | None:
    """One record of a queue, a stream or a topic; None where its source is another."""
    source = str(record.get("eventSource") or record.get("EventSource") or "")
    if source == "aws:sqs":
        return EventRecord(record.get("messageId"), str(record.get("body", "")).encode())
    if source == "aws:kinesis":
        kinesis = _mapping(record.get("kinesis"))
        return EventRecord(kinesis.get("sequenceNumber"), _readable(kinesis.get("data")))
    if source == "aws:sns":
        return EventRecord(None, str(_mapping(record.get("Sns")).get("Message", "")).encode())
    return None


def _of_kafka(partitions: Event) -> Iterator[EventRecord]:
    for partition, records in partitions.items():
        for record in _list(records):
            one = _mapping(record)
            name = {"partition": partition, "offset": one.get("offset")}
            yield EventRecord(name, _readable(one.get("value")))


def _readable(data: object) -> bytes | None:
    try:
        return _decoded(str(data))
    except InvalidInput:
        return None


def _mapping(value: object) -> Event:
    return cast("Event", value) if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
