"""Stage 4, serve: what a caller may say beside the rows, where a dialect has a place for parameters.

Comes in: an object of names and values. Goes out: a `Request` with what they mean. One that nobody here knows is
refused: a caller who sets it counts on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from penstock.errors import InvalidInput
from penstock.serve.inferhints import Parameters, Rest, Wanted, with_hints
from penstock.serve.protocol import Request
from penstock.tensors import Arrays, Signature

OUTPUTS = "outputs"
KNOWN = (OUTPUTS, "routing_key", "event_time", "timeout", "priority")


def with_parameters(arrays: Arrays, parameters: Mapping[str, object], signature: Signature, where: str) -> Request:
    """The request for those arrays.

    Args:
        arrays: By input.
        parameters: ``outputs`` (a name or a list of names: what to answer with) and those of V2: ``routing_key``,
            ``event_time``, ``timeout`` in microseconds, ``priority``.
        signature: The model's.
        where: What the dialect calls them.

    Raises:
        InvalidInput: One is unknown, or no such value may be.
    """
    if not parameters:
        return Request(arrays)
    for name in parameters:
        if name not in KNOWN:
            raise InvalidInput("the model has no such parameter", f"those known are {', '.join(KNOWN)}", where=where)
    names = parameters.get(OUTPUTS, [])
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise InvalidInput("this is no list of outputs", "send their names", where=f"{where}.{OUTPUTS}")
    hints = {name: value for name, value in parameters.items() if name != OUTPUTS}
    rest = Rest(parameters=cast("Parameters", hints), outputs=[Wanted(name) for name in listed] or None)
    return with_hints(rest, arrays, signature)


def wanted(request: Request, outputs: Arrays) -> Arrays:
    """The outputs that were asked for, in the model's order."""
    return {name: one for name, one in outputs.items() if name in request.wanted} if request.wanted else outputs
