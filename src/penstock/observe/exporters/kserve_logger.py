"""KServe's inference logger: each exchange as two CloudEvents, the request's and the response's, sent to a URL.

    exchange --> ce-type org.kubeflow.serving.inference.request   (body: the request as V1 or V2 JSON)
             `-> ce-type org.kubeflow.serving.inference.response  (body: the response)

Both have the exchange's id, so a receiver that keeps (source, id, type) sees each once even where one comes twice. A
request that was refused has no response; one that could not be decoded has nothing to tell. Source: KServe
``pkg/logger``; CloudEvents 1.0, HTTP protocol binding, binary mode.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import quote, urlsplit

import msgspec

from penstock.config import ExporterConfig
from penstock.errors import InvalidInput, Unready
from penstock.observe.payloads import request_body, response_body
from penstock.records import Exchange
from penstock.tensors import Signature

TIMEOUT_S = 10.0
TYPE = "org.kubeflow.serving.inference."
_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_NEVER = frozenset({400, 413, 415, 422})
"""Statuses that say that this event will not be taken, ever; all others may be mended on the receiver's side."""
_json = msgspec.json.Encoder().encode


class KServeLogger:
    """Sends both events of an exchange over one connection that is kept.

    Args:
        endpoint: Whose exchanges they are.
        settings: Where to, and under which names.
    """

    def __init__(self, endpoint: str, settings: ExporterConfig) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._url = urlsplit(settings.url)
        self._connection: HTTPConnection | None = None
        self._sent = ("", "")

    def send(self, exchange: Exchange, signature: Signature) -> None:
        """Request, then response; what went through is not sent again with the other.

        Raises:
            Unready: The receiver is not there, or not now.
            InvalidInput: It will never take this one.
        """
        for kind, body in self._bodies(exchange, signature):
            if self._sent != (exchange.id, kind):
                self._post(self._headers(exchange, kind), body)
                self._sent = (exchange.id, kind)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _bodies(self, exchange: Exchange, signature: Signature) -> Iterator[tuple[str, bytes]]:
        mode, form = self._settings.mode, self._settings.protocol
        if mode != "response" and exchange.inputs:
            yield "request", request_body(exchange, signature, form)
        if mode != "request" and exchange.code == "ok":
            yield "response", response_body(exchange, signature, form)

    def _headers(self, exchange: Exchange, kind: str) -> dict[str, str]:
        at = exchange.received_at + (exchange.latency_s if kind == "response" else 0.0)
        about = {
            "model": exchange.model,
            "version": str(exchange.version),
            "variant": exchange.variant,
            "code": exchange.code,
            "client_id": exchange.client_id,
        }
        attributes = {
            "specversion": "1.0",
            "id": exchange.id,
            "type": f"{TYPE}{kind}",
            "source": f"/penstock/endpoints/{quote(self._endpoint, safe='')}",
            "time": _moment(exchange.event_time),
            "inferenceservicename": self._settings.service or self._endpoint,
            "namespace": self._settings.namespace,
            "component": self._settings.component,
            "endpoint": self._endpoint,
            "recordedtime": _moment(at),
            "metadata": _json({name: value for name, value in about.items() if value}).decode(),
        }
        headers = {f"ce-{name}": quote(value, safe=_PRINTABLE) for name, value in attributes.items()}
        return headers | {"content-type": "application/json"}

    def _post(self, headers: dict[str, str], body: bytes) -> None:
        try:
            status = self._asked(headers, body)
        except (OSError, HTTPException) as error:
            self.close()
            raise Unready(f"the receiver does not answer: {type(error).__name__}", code="export.gone") from error
        if status in _NEVER:
            raise InvalidInput(f"the receiver refuses the event: status {status}", code="export.refused")
        if not 200 <= status < 300:
            raise Unready(f"the receiver answers with status {status}", code="export.unready")

    def _asked(self, headers: dict[str, str], body: bytes) -> int:
        """The status; a kept connection that the receiver closed meanwhile is made again, once."""
        kept = self._connection is not None
        try:
            return _read(self._request(headers, body))
        except (OSError, HTTPException):
            self.close()
            if not kept:
                raise
        return _read(self._request(headers, body))

    def _request(self, headers: dict[str, str], body: bytes) -> HTTPResponse:
        if self._connection is None:
            self._connection = self._connected()
        path = self._url.path or "/"
        self._connection.request("POST", f"{path}?{self._url.query}" if self._url.query else path, body, headers)
        return self._connection.getresponse()

    def _connected(self) -> HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            return HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        return HTTPConnection(host, port, timeout=TIMEOUT_S)


def _read(answer: HTTPResponse) -> int:
    # To the end, so that the connection can be used again; no more than a receiver of events has to say.
    answer.read(1 << 20)
    return answer.status


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
