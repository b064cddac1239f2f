"""Stage 4, serve: what an Azure ML managed online endpoint asks of a container.

Comes in: rows as a list, or under ``data``, ``instances``, ``inputs`` or ``input_data`` (there also as ``columns`` and
``data``, or one list a column: what Azure asks of an MLflow model that came without code); ``GET /score`` takes them
from the query. Goes out: a list, one entry a row, as in V1. Errors are ``{"message"}``.

Source: azureml-inference-server-http 1.5 (routes, headers, their limits, Swagger of versions 2 and 3).
"""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple
from urllib.parse import parse_qs

import msgspec

from penstock.errors import InvalidInput, NotFound, PenstockError
from penstock.serve.calls import QUERY, Call, Reply
from penstock.serve.cards import Card, Catalogue, unknown_endpoint
from penstock.serve.instances import Instances
from penstock.serve.openapi import swagger
from penstock.serve.protocol import STRICT, Manner, Operation, Prediction, Request, ServingProtocol
from penstock.serve.refusals import refuse, status_of
from penstock.serve.rowvalues import Value, is_matrix, read_rows
from penstock.serve.tensordata import bad_json, parse, with_tokens
from penstock.tensors import Signature

MOST_ID = 100
"""Characters of a request id."""
_IDS = ("x-request-id", "x-ms-request-id", "x-ms-client-request-id")
_SCORE = "/score"
_SWAGGER = "/swagger.json"
_encode = msgspec.json.Encoder().encode


class _Envelope(msgspec.Struct):
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    input_data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    params: dict[str, object] | None = None


class _Split(msgspec.Struct):
    columns: list[str | int]
    data: list[list[Value]]


class _Ids(NamedTuple):
    """What an answer repeats of its request."""

    own: str
    legacy: str
    client: str
    started: float


_envelope = msgspec.json.Decoder(_Envelope).decode
_split = msgspec.json.Decoder(_Split).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_columns = msgspec.json.Decoder(dict[str, list[Value]]).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class AzuremlProtocol(ServingProtocol):
    """Azure ML, the online endpoints' container contract."""

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        self._instances = Instances()
        # Elsewhere ``GET /`` is another dialect's.
        self._here = any(name.startswith(("AZUREML_", "AML_")) for name in manner.environment)

    def match(self, method: str, path: str) -> Operation | None:
        """``/score`` and ``/swagger.json``; ``/`` too where Azure ML runs this."""
        method = "GET" if method == "HEAD" and path != _SCORE else method
        if path == _SCORE:
            verb = {"POST": Operation("predict"), "GET": Operation("predict"), "OPTIONS": Operation("server")}
            return verb.get(method)
        if method == "GET" and path == _SWAGGER:
            return Operation("model")
        return Operation("alive") if method == "GET" and path == "/" and self._here else None

    def decode(self, call: Call, signature: Signature) -> Request:
        """Rows of any of the forms to one array a column."""
        ids = _ids_of(call)
        body = call.body if call.method == "POST" else _body_of(call.headers.get(QUERY, b""))
        name, rows = _rows_of(body, signature)
        arrays = self._instances.typed(b'{"instances":%b}' % rows, signature)
        if arrays is None:
            arrays = read_rows(msgspec.Raw(rows), signature, name)
        return Request(arrays, client_id=ids.client, form=ids)

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """A list, one entry a row: the value, or an object by name where there are several outputs."""
        names = list(prediction.outputs)
        columns = [array.tolist() for array in prediction.outputs.values()]
        rows = columns[0] if len(names) == 1 else [dict(zip(names, row, strict=True)) for row in zip(*columns)]  # noqa: B905
        ids = request.form if isinstance(request.form, _Ids) else _Ids("", "", "", perf_counter())
        own = ids.own or prediction.id
        lines = [("x-request-id", own), ("x-ms-request-id", ids.legacy or own)]
        if ids.client:
            lines.append(("x-ms-client-request-id", ids.client))
        took_ms = (perf_counter() - ids.started) * 1e3
        lines += [("x-ms-run-function-failed", "False"), ("x-ms-run-fn-exec-ms", f"{took_ms:.3f}")]
        body = with_tokens(rows) if prediction.nan_tokens else _encode(rows)
        return Reply(200, body, headers="".join(f"{key}: {value}\r\n" for key, value in lines).encode("latin-1"))

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Life, the answer to a browser that asks what it may send, and the Swagger document."""
        if operation.verb == "alive":
            return Reply(200, b"Healthy", b"text/plain; charset=utf-8")
        if operation.verb == "server":
            return Reply(200, b"", b"text/plain; charset=utf-8", b"allow: GET, POST, OPTIONS\r\n")
        version = call.query.get("version", "2")
        if version not in ("2", "3"):
            raise NotFound("there is no Swagger document of that version", "ask for 2 or 3", code="serve.no_version")
        card = _only(catalogue)
        if card.signature is None:
            raise NotFound("the endpoint is still loading", "ask again in a moment", code="serve.no_endpoint")
        return Reply(200, _encode(swagger(card.signature, card.name, version)))

    def refuse(self, error: PenstockError, reference: str = "") -> Reply:
        """``{"message"}``, and whether it was the model that failed."""
        usual = refuse(error, reference)
        found = msgspec.json.decode(usual.body, type=dict[str, str])
        message = found.pop("error")
        failed = status_of(error) >= 500
        headers = usual.headers + b"x-ms-run-function-failed: %b\r\n" % str(failed).encode()
        return Reply(usual.status, _encode({"message": message, **found}), headers=headers)


def _only(catalogue: Catalogue) -> Card:
    """The one endpoint there is."""
    if len(catalogue.cards) != 1:
        raise unknown_endpoint()
    return next(iter(catalogue.cards.values()))


def _ids_of(call: Call) -> _Ids:
    """The request's ids.

    Raises:
        InvalidInput: One is longer than Azure ML lets it be.
    """
    own, legacy, client = (call.headers.get(name.encode(), b"").decode("latin-1") for name in _IDS)
    for name, value in zip(_IDS, (own, legacy, client), strict=True):
        if len(value) > MOST_ID:
            raise InvalidInput(
                f"the id is longer than {MOST_ID} characters",
                "send a shorter one, or none",
                code="serve.headers_too_large",
                where=f"headers.{name}",
            )
    client = client or legacy
    return _Ids(own, legacy or client or own, client, call.started)


def _body_of(query: bytes) -> bytes:
    """A query as the body it stands for: each value JSON, or else text; names of inputs make one row."""
    found: dict[str, object] = {}
    for name, values in parse_qs(query.decode("ascii", "replace"), keep_blank_values=True).items():
        parsed = [_value_of(value) for value in values]
        found[name] = parsed[0] if len(parsed) == 1 else parsed
    if not found:
        raise InvalidInput("the query holds no rows", "send ?data= and a list of rows, or POST them", where="query")
    return _encode(found if found.keys() & set(_Envelope.__struct_fields__) else [found])


def _value_of(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _rows_of(body: bytes, signature: Signature) -> tuple[str, bytes]:
    """The rows as JSON, and what errors call them.

    Raises:
        InvalidInput: There are none, or they are there twice.
    """
    if body.lstrip()[:1] == b"[":
        if not parse(body, _list):
            raise InvalidInput("the rows are missing", "send a list of rows", where="body")
        return "body", body
    envelope = parse(body, _envelope)
    if envelope.params:
        raise InvalidInput("the model takes no parameters", "leave them out", where="params")
    given = {name: getattr(envelope, name) for name in ("data", "instances", "inputs", "input_data")}
    found = {name: bytes(raw) for name, raw in given.items() if raw is not msgspec.UNSET}
    if len(found) != 1:
        text = "the rows are there twice" if found else "the rows are missing"
        raise InvalidInput(text, "send a list of rows as data", where=next(iter(found), "data"))
    ((name, rows),) = found.items()
    if rows[:1] != b"{":
        return name, rows
    if name != "input_data":
        raise InvalidInput("this is no list of rows", "send a list", where=name)
    return _of_table(rows, signature)


def _of_table(table: bytes, signature: Signature) -> tuple[str, bytes]:
    """Rows of ``{"columns", "data"}``, or of one list a column."""
    where = "input_data"
    try:
        if {"columns", "data"} <= _fields(table).keys():
            return _of_split(_split(table), signature)
        columns = _columns(table)
    except msgspec.DecodeError as error:
        raise bad_json(error, where) from None
    if len({len(values) for values in columns.values()}) != 1:
        raise InvalidInput("the columns differ in length, or there are none", "send one value a row", where=where)
    return where, _encode([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


def _of_split(split: _Split, signature: Signature) -> tuple[str, bytes]:
    """Rows by the names above them; a model of numbered features takes rows as they stand."""
    where = "input_data.data"
    names = [str(name) for name in split.columns]
    if len(set(names)) != len(names):
        raise InvalidInput("a column is named twice", "name it once", where="input_data.columns")
    for index, row in enumerate(split.data):
        if len(row) != len(names):
            raise InvalidInput(f"the row has {len(row)} values for {len(names)} columns", where=f"{where}[{index}]")
    if is_matrix(signature) and not set(names) & set(signature.inputs[0].columns):
        return where, _encode(split.data)
    return where, _encode([dict(zip(names, row, strict=True)) for row in split.data])
