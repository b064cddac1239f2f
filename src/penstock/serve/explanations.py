"""Stage 4, serve: an explanation in JSON, and what a JSON body says of the one it wants.

    {"parameters": {"output", "class"}} --> Aim        Explanation --> {"base", "answer", "values", ...} a row

The words are the same in every dialect that is free to choose them.
"""

from __future__ import annotations

import msgspec

from penstock.serve.protocol import Aim, Explanation
from penstock.serve.tensordata import parse
from penstock.statistics.answers import canonical
from penstock.tensors import Floats


class _Wanted(msgspec.Struct, rename={"label": "class"}):
    output: str | None = None
    label: str | int | float | bool | None = None


class _Body(msgspec.Struct):
    parameters: _Wanted | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


def aim_in(body: bytes) -> Aim:
    """What the parameters of a JSON body want explained.

    Raises:
        InvalidInput: The output is no text, or the class no text or number.
    """
    wanted = parse(body, _decode_body).parameters or _Wanted()
    return Aim(wanted.output or "", "" if wanted.label is None else canonical(wanted.label))


def rows_of(explanation: Explanation) -> list[dict[str, object]]:
    """One object a row; numbers that JSON does not have stay as they are."""
    one = explanation
    named = any(not name.isdigit() for name in one.features)
    return [
        {
            "output": one.output,
            **({"class": one.labels[row]} if one.labels else {}),
            "base": float(one.base[row]),
            "answer": float(one.answered[row]),
            "values": _parts(one.values[row], one.features, named=named),
            "standard_errors": _parts(one.standard_errors[row], one.features, named=named),
        }
        for row in range(len(one.base))
    ]


def _parts(values: Floats, names: tuple[str, ...], *, named: bool) -> object:
    """By name; a list where the names are places."""
    numbers = values.tolist()
    return dict(zip(names, numbers, strict=True)) if named else numbers
