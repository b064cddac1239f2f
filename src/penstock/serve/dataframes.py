"""Stage 4, serve: a data frame in JSON, in MLflow's four forms, to one array an input.

    {"dataframe_split": {"columns": [...], "data": [[...], ...]}}   {"dataframe_records": [{...}, ...]}
    {"instances": [row, ...]}                                       {"inputs": {column: values}}, {"inputs": tensor}

Exactly one of them is there. Columns are found by name: one that is missing is named in the refusal, one that the model
does not have is left out, as MLflow leaves it out. Source: MLflow's scoring server protocol.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.errors import InvalidInput
from penstock.serve.bodyforms import read_body
from penstock.serve.cells import columns_of, places_of, shaped_rows
from penstock.serve.rowvalues import Row, Value, from_rows, is_matrix, within
from penstock.serve.tensordata import parse
from penstock.tensors import Arrays, Signature, TensorSpec

Params = dict[str, object]
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class _Body(msgspec.Struct):
    dataframe_split: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    dataframe_records: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    params: Params | None = None


class _Split(msgspec.Struct):
    data: list[list[Value]]
    columns: list[str | int] | None = None


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_split = msgspec.json.Decoder(_Split).decode
_decode_records = msgspec.json.Decoder(list[dict[str, Value]]).decode


def read_frame(body: bytes, signature: Signature) -> tuple[Arrays, Params]:
    """One array an input, and the parameters beside the rows.

    Raises:
        InvalidInput: With the value's path, or the name of the column that is missing.
    """
    decoded = parse(body, _decode_body)
    given = [name for name in FORMS if getattr(decoded, name) is not msgspec.UNSET]
    if len(given) != 1:
        raise InvalidInput(
            "the rows are missing" if not given else "there are rows in more than one form",
            f"send one of {', '.join(FORMS)}",
            where="body" if not given else given[1],
        )
    form, data = given[0], getattr(decoded, given[0])
    params = decoded.params or {}
    if form == "dataframe_split":
        split = within(data, _decode_split, form)
        return _from_split(split.columns, split.data, signature), params
    if form == "dataframe_records":
        return _from_records(within(data, _decode_records, form), signature), params
    if form == "inputs" and bytes(data).lstrip()[:1] == b"[" and len(signature.inputs) > 1:
        raise InvalidInput(
            "the model has named columns, and a list names none", "send dataframe_split, or inputs by name", where=form
        )
    return read_body(body, signature)[0], params


def _from_split(columns: Sequence[str | int] | None, data: Sequence[Sequence[Value]], signature: Signature) -> Arrays:
    where = "dataframe_split.data"
    wanted = columns_of(signature)
    if columns is None:
        return in_order(data, signature, where)
    header = [str(name) for name in columns]
    for at, row in enumerate(data):
        if len(row) != len(header):
            raise InvalidInput(f"the row has {len(row)} values and not {len(header)}", where=f"{where}[{at}]")
    order = places_of(header, wanted, "dataframe_split.columns")
    return in_order([[row[at] for at in order] for row in data], signature, where)


def _from_records(records: Sequence[dict[str, Value]], signature: Signature) -> Arrays:
    where = "dataframe_records"
    wanted = columns_of(signature)
    if not any(wanted):
        return in_order([list(record.values()) for record in records], signature, where)
    for at, record in enumerate(records):
        missing = [name for name in wanted if name not in record]
        if missing:
            raise InvalidInput("the column is missing", "send every input", where=f"{where}[{at}].{missing[0]}")
    return in_order([[record[name] for name in wanted] for record in records], signature, where)


def in_order(rows: Sequence[Sequence[Value]], signature: Signature, where: str) -> Arrays:
    """Rows of single values in the signature's order, for a model of a tensor a row, too.

    Raises:
        InvalidInput: With the value's path.
    """
    spec = signature.inputs[0]
    if not is_matrix(signature) or len(spec.shape) < 3:
        found: list[Row] = [list(row) for row in rows]
        return from_rows(found, signature, where)
    width = len(columns_of(signature)) or -1
    flat = TensorSpec(name=spec.name, datatype=spec.datatype, shape=(-1, width))
    table = from_rows([list(row) for row in rows], Signature(inputs=(flat,), outputs=()), where)[spec.name]
    return {spec.name: shaped_rows(table, spec)}
