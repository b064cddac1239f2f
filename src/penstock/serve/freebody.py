"""Stage 4, serve: rows from whatever body a client sends, where the dialect leaves its form to the model.

    JSON   row | [row, ...] | {"data" | "instances" | "inputs": either}
    CSV    a row a line, with or without the names above      form   a part a column, or one part that is any of these
    text   the one input of a model that takes one text

A row is a list in the signature's order, an object by column, or the value alone for a model of one column. What is
JSON by its first byte is read as JSON, whatever its content type says: curl calls everything a form.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec

from penstock.errors import InvalidInput
from penstock.runtime.bodies import JSON_TYPE, PLAIN, main_type
from penstock.runtime.multipart import FORM, FormPart, read_form
from penstock.serve.cells import columns_of, from_cells
from penstock.serve.csvtable import read_csv
from penstock.serve.instances import Instances
from penstock.serve.rowvalues import from_rows, is_matrix, read_rows
from penstock.serve.tensordata import parse
from penstock.tensors import Arrays, Signature

FIELDS = "application/x-www-form-urlencoded"
CSV = "text/csv"
MOST_FIELDS = 1024
_WHERE = "body"
_ENVELOPES = ("data", "instances", "inputs")
_SPACE = b" \t\r\n"
_decode_any = msgspec.json.Decoder(msgspec.Raw).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class FreeRows(NamedTuple):
    """What a body held.

    Attributes:
        many: It was a list of rows; one row alone is answered alone.
        envelope: The name that the rows stood under; empty where there was none.
    """

    arrays: Arrays
    many: bool
    envelope: str = ""


class FreeBody:
    """Reads bodies, the usual ones in one pass."""

    def __init__(self) -> None:
        self._instances = Instances()

    def read(self, body: bytes, content_type: str, signature: Signature) -> FreeRows:
        """Rows of a body.

        Args:
            body: Decompressed.
            content_type: The header; empty where there was none.
            signature: The model's.

        Raises:
            InvalidInput: With the value's path.
        """
        kind = main_type(content_type)
        start = body.lstrip(_SPACE)[:1]
        if kind == FORM:
            return self._of_form(read_form(body, content_type), signature)
        if kind == CSV:
            return FreeRows(read_csv(body, signature), many=True)
        text = _takes_text(signature)
        if kind == JSON_TYPE or (start in (b"{", b"[") and not (text and kind == PLAIN)):
            return self._of_json(body, signature)
        if kind == FIELDS and b"=" in body:
            return _of_fields(_query(body), signature)
        if text:
            return FreeRows(from_rows([_text(body)], signature, _WHERE), many=False)
        return self._of_json(body, signature)

    def _of_json(self, body: bytes, signature: Signature) -> FreeRows:
        envelope = ""
        rows = bytes(parse(body, _decode_any)).strip(_SPACE)
        if rows[:1] == b"{":
            given = parse(rows, _decode_object)
            names = columns_of(signature)
            envelope = next((name for name in _ENVELOPES if name in given and name not in names), "")
            rows = bytes(given[envelope]).strip(_SPACE) if envelope else rows
        many = _is_list_of_rows(rows, signature)
        rows = rows if many else b"[%b]" % rows
        where = envelope or _WHERE
        arrays = self._instances.typed(b'{"instances":%b}' % rows, signature)
        if arrays is None:
            arrays = read_rows(msgspec.Raw(rows), signature, where)
        return FreeRows(arrays, many, envelope)

    def _of_form(self, parts: tuple[FormPart, ...], signature: Signature) -> FreeRows:
        """One part alone is a body of its own; several fields are one row by column."""
        if len(parts) == 1:
            one = parts[0]
            kind = CSV if one.filename.lower().endswith(".csv") else main_type(one.media_type)
            return self.read(one.body, "" if kind in (FORM, FIELDS) else kind, signature)
        return _of_fields({part.name: _text(part.body) for part in parts}, signature)


def _is_list_of_rows(rows: bytes, signature: Signature) -> bool:
    """Whether it is nested one deeper than a row is."""
    depth = 0
    for at in range(min(len(rows), 256)):
        byte = rows[at : at + 1]
        if byte == b"[":
            depth += 1
        elif byte not in (b" ", b"\t", b"\r", b"\n"):
            break
    else:
        byte = b""
    if depth and byte == b"{":
        return True
    first = signature.inputs[0]
    of_row = len(first.shape) - 1 if is_matrix(signature) else int(len(signature.inputs) > 1)
    return depth > of_row


def _of_fields(fields: dict[str, str], signature: Signature) -> FreeRows:
    """One row by column."""
    return FreeRows(from_cells(list(fields), [list(fields.values())], signature, _WHERE), many=False)


def _takes_text(signature: Signature) -> bool:
    only = signature.inputs[0]
    return len(signature.inputs) == 1 and only.datatype == "BYTES" and only.shape in ((-1,), (-1, 1))


def _query(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(_text(body), keep_blank_values=True, strict_parsing=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise InvalidInput("the form cannot be read", "send JSON", where=_WHERE) from None
    if len(dict(pairs)) != len(pairs):
        raise InvalidInput("the form has two fields of one name", "send each once", where=_WHERE)
    return dict(pairs)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidInput("the body is not UTF-8", "send UTF-8", where=_WHERE) from None
