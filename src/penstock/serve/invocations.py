"""Stage 4, serve: the body of ``/invocations``, as SageMaker and MLflow share it: read by type, answered as accepted.

    JSON (a data frame, see `dataframes`) | CSV | JSON lines | NPY | Parquet --by Content-Type--> Request
    Prediction --by Accept--> {"predictions": [...]} | CSV | JSON lines | NPY

A row of the answer is the value where the model has one output, an object by output name where it has several.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Protocol, cast

import msgspec

from penstock import adapters
from penstock.errors import InvalidInput, PenstockError
from penstock.serve.calls import Reply
from penstock.serve.csvtable import read_csv, write_csv
from penstock.serve.dataframes import read_frame
from penstock.serve.mediatypes import CSV, JSON, LINES, NPY, PARQUET, MediaType, accepted, unsupported
from penstock.serve.npyarray import read_npy, write_npy
from penstock.serve.predictbody import written
from penstock.serve.predictparams import wanted, with_parameters
from penstock.serve.protocol import Prediction, Request
from penstock.serve.refusals import refuse
from penstock.serve.rowvalues import MOST_ROWS, Row, from_rows, is_matrix, read_rows, too_many_rows
from penstock.serve.tensordata import parse
from penstock.tensors import Arrays, Signature

TAKEN = (JSON, CSV, LINES, NPY, PARQUET)
OFFERED = (JSON, CSV, LINES, NPY)
ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
    429: "REQUEST_LIMIT_EXCEEDED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""MLflow's names of what went wrong."""
_HEADERS = {"present": True, "absent": False}
_decode_row = msgspec.json.Decoder(Row).decode


class ParquetReader(Protocol):
    """Reads a file of columns; see `penstock.serve.readers.parquet`."""

    @staticmethod
    def read(body: bytes, signature: Signature) -> Arrays:
        """One array an input.

        Raises:
            InvalidInput: It is no such file, or lacks a column.
        """


class AcceptForm(msgspec.Struct, frozen=True):
    """What an answer needs to know of its request.

    Attributes:
        accept: The type to answer in.
        echo: Header lines that go back.
    """

    accept: str = JSON
    echo: bytes = b""


def read(body: bytes, kind: MediaType, signature: Signature) -> Request:
    """The request in a body.

    Raises:
        InvalidInput: With the value's path.
        PenstockError: The type is none that is read here; code ``serve.media_type``.
    """
    if kind.name == JSON:
        arrays, params = read_frame(body, signature)
        return with_parameters(arrays, params, signature, "params")
    if kind.name == CSV:
        return Request(read_csv(body, signature, header=_HEADERS.get(kind.parameters.get("header", ""))))
    reader = _READERS.get(kind.name)
    if reader is None:
        raise unsupported(TAKEN)
    return Request(reader(body, signature))


def accept_of(value: bytes, usual: str = JSON) -> str:
    """Which type to answer in.

    Raises:
        PenstockError: None of ours is accepted; code ``serve.not_acceptable``.
    """
    return accepted(value, OFFERED, usual)


def answer(request: Request, prediction: Prediction) -> Reply:
    """The outputs that were asked for, as they were asked for.

    Raises:
        PenstockError: They make no one array, and one was asked for.
    """
    asked = request.form if isinstance(request.form, AcceptForm) else AcceptForm()
    outputs = wanted(request, prediction.outputs)
    writer = _WRITERS[asked.accept]
    return Reply(200, writer(outputs, prediction.nan_tokens), asked.accept.encode(), asked.echo)


def health(answers: bool) -> Reply:
    """Whether all endpoints answer, as both platforms' probes read it."""
    return Reply(200, b'{"status":"Healthy"}\n') if answers else Reply(503, b'{"status":"Unhealthy"}\n')


def failed(error: PenstockError, reference: str) -> Reply:
    """An error as MLflow's clients read it, with what ours read beside it."""
    reply = refuse(error, reference)
    body = msgspec.json.decode(reply.body, type=dict[str, str])
    body = {"error_code": ERROR_CODES.get(reply.status, "INTERNAL_ERROR"), "message": body["error"], **body}
    return msgspec.structs.replace(reply, body=msgspec.json.encode(body))


def rows_of(outputs: Arrays) -> list[object]:
    """An entry a row."""
    columns = [array.tolist() for array in outputs.values()]
    if len(columns) == 1:
        return cast("list[object]", columns[0])
    names = list(outputs)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _read_lines(body: bytes, signature: Signature) -> Arrays:
    """A row a line: a list, an object by column, or the value alone."""
    if body.count(b"\n") > MOST_ROWS:
        raise too_many_rows("rows")
    lines = [line for line in body.split(b"\n") if line.strip()]
    if not lines:
        raise InvalidInput("there are no rows", "send a line for each", where="rows")
    if is_matrix(signature) and len(signature.inputs[0].shape) > 2:
        return read_rows(msgspec.Raw(b"[%b]" % b",".join(lines)), signature, "rows")
    rows: list[Row] = []
    for at, line in enumerate(lines):
        try:
            rows.append(cast("Row", parse(line, _decode_row)))
        except InvalidInput as error:
            raise InvalidInput(error.message, error.hint, code=error.code, where=f"rows[{at}]") from None
    return from_rows(rows, signature, "rows")


@cache
def _parquet() -> ParquetReader:
    return cast("ParquetReader", adapters.load("reader", "parquet"))


def _read_parquet(body: bytes, signature: Signature) -> Arrays:
    return _parquet().read(body, signature)


def _write_lines(outputs: Arrays, nan_tokens: bool) -> bytes:
    return b"".join(written(row, nan_tokens=nan_tokens) + b"\n" for row in rows_of(outputs))


_READERS: dict[str, Callable[[bytes, Signature], Arrays]] = {
    LINES: _read_lines,
    NPY: read_npy,
    PARQUET: _read_parquet,
}
_WRITERS: dict[str, Callable[[Arrays, bool], bytes]] = {
    JSON: lambda outputs, nan_tokens: written({"predictions": rows_of(outputs)}, nan_tokens=nan_tokens),
    CSV: lambda outputs, _: write_csv(outputs),
    LINES: _write_lines,
    NPY: lambda outputs, _: write_npy(outputs),
}
