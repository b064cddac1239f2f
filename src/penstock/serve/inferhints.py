"""Stage 4, serve: what a V2 request says beside its inputs: parameters, wanted outputs, places in shared memory.

Comes in: the decoded JSON part, or what another form of V2 has of it. Goes out: routing key, event time, time budget,
priority; which outputs, in which form and where. Source: Triton's extensions for scheduling, binary tensors and shared
memory.
"""

from __future__ import annotations

import msgspec

from penstock.errors import InvalidInput, PenstockError
from penstock.serve.eventtime import seconds
from penstock.serve.protocol import Request, Span
from penstock.tensors import Arrays, Signature

Parameters = dict[str, str | float | bool | int | list[object] | dict[str, object] | None]
SPAN = ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size")


class Wanted(msgspec.Struct):
    """One output as it was asked for."""

    name: str
    parameters: Parameters | None = None


class Rest(msgspec.Struct, gc=False):
    """The JSON part of a request, without its inputs."""

    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[Wanted] | None = None


def span_of(parameters: Parameters, where: str) -> Span:
    """A tensor's place in shared memory.

    Raises:
        InvalidInput: The region is no name, or offset or size no number of bytes.
    """
    region, offset, size = parameters.get(SPAN[0]), parameters.get(SPAN[1], 0), parameters.get(SPAN[2])
    if not isinstance(region, str):
        raise InvalidInput("this is no name of a region", "send text", where=f"{where}.{SPAN[0]}")
    if type(offset) is not int or not 0 <= offset < 1 << 62:
        raise InvalidInput("this is no number of bytes", "send a whole number", where=f"{where}.{SPAN[1]}")
    if type(size) is not int or not 0 <= size < 1 << 62:
        raise InvalidInput("this is no number of bytes", "send a whole number", where=f"{where}.{SPAN[2]}")
    return Span(region, offset, size)


def with_hints(body: Rest, arrays: Arrays, signature: Signature) -> Request:
    """The request with what its parameters and its list of outputs say.

    Raises:
        InvalidInput: With the field's path and never its value.
    """
    if body.parameters is None and body.outputs is None:
        return Request(arrays, body.id or "")
    hints = body.parameters or {}
    wanted, raw, placed = _outputs(body, signature, everything_raw=hints.get("binary_data_output") is True)
    key, event_time, timeout_s, priority = _hints(hints)
    return Request(arrays, body.id or "", key, event_time, timeout_s, wanted, raw, priority=priority, placed=placed)


def _hints(parameters: Parameters) -> tuple[str, float, float, int]:
    """Routing key, event time, time budget in seconds, priority."""
    if not parameters:
        return "", 0.0, 0.0, 0
    timeout = parameters.get("timeout", 0)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout < 1e12:
        raise InvalidInput("this is not a number of microseconds", "send a whole number", where="parameters.timeout")
    priority = parameters.get("priority", 0)
    if type(priority) is not int or not 0 <= priority < 1 << 63:
        raise InvalidInput("this is no priority", "send a whole number, 1 is the highest", where="parameters.priority")
    at = parameters.get("event_time")
    key = parameters.get("routing_key", "")
    if at is not None and (isinstance(at, bool) or not isinstance(at, str | int | float)):
        raise InvalidInput("this is not a time", "send epoch seconds or ISO 8601", where="parameters.event_time")
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise InvalidInput("a routing key is text", "send text", where="parameters.routing_key")
    if parameters.get("sequence_id") not in (None, 0, ""):
        raise unspoken("sequences of requests", "parameters.sequence_id")
    return str(key), 0.0 if at is None else seconds(at, "parameters.event_time"), timeout / 1e6, priority


def _outputs(
    body: Rest, signature: Signature, *, everything_raw: bool
) -> tuple[tuple[str, ...], frozenset[str], dict[str, Span]]:
    """Which outputs are wanted, which of them raw, and which in shared memory."""
    known = [spec.name for spec in signature.outputs]
    if not body.outputs:
        return (), frozenset(known) if everything_raw else frozenset(), {}
    raw: set[str] = set()
    placed: dict[str, Span] = {}
    for index, output in enumerate(body.outputs):
        if output.name not in known:
            raise InvalidInput(
                "the model has no such output", f"its outputs are {', '.join(known)}", where=f"outputs[{index}].name"
            )
        parameters = output.parameters or {}
        where = f"outputs[{index}].parameters"
        if parameters.get("classification") not in (None, 0):
            raise unspoken("classification of outputs", f"{where}.classification")
        if "shared_memory_region" in parameters:
            placed[output.name] = span_of(parameters, where)
        elif parameters.get("binary_data", everything_raw) is True:
            raw.add(output.name)
    return tuple(output.name for output in body.outputs), frozenset(raw), placed


def unspoken(what: str, where: str = "") -> PenstockError:
    """The refusal of an extension that is not spoken: 501."""
    return PenstockError(
        f"{what} are not spoken here", "GET /v2 lists the extensions", code="serve.unsupported", where=where
    )
