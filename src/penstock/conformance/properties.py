"""Seeded properties: what must hold for any request, tried with random ones.

Comes in: a kit, a generator, the example's number. Goes out: a sentence where the property does not hold; the kit knows
the request that showed it. Early examples are small, so that what is shown first is easy to read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from penstock.conformance.inferences import difference
from penstock.conformance.judge import error_text
from penstock.conformance.kit import Kit
from penstock.conformance.spoils import HOPELESS, IN_MESSAGES, spoil
from penstock.conformance.template import Unfit, written
from penstock.conformance.tensorforms import Misformed
from penstock.conformance.transport import Heard, Sent
from penstock.tensors import Arrays

Property = Callable[[Kit, np.random.Generator, int], str]
CALLERS_FAULT = ("INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "FAILED_PRECONDITION", "UNIMPLEMENTED")
"""gRPC's codes for what the caller must change."""


def _valid(form: str) -> Property:
    """Any valid request is answered."""

    def holds(kit: Kit, rng: np.random.Generator, index: int) -> str:
        return _infer(kit, _drawn(kit, rng, index), form)[0]

    return holds


def _alike(one: str, other: str) -> Property:
    """Two ways of asking the same get the same answer."""

    def holds(kit: Kit, rng: np.random.Generator, index: int) -> str:
        _steady(kit)
        arrays = _drawn(kit, rng, index)
        wrong, first = _infer(kit, arrays, one)
        if wrong:
            return wrong
        wrong, second = _infer(kit, arrays, other)
        return wrong or difference(first, second)

    return holds


def _permuted(kit: Kit, rng: np.random.Generator, index: int) -> str:
    """Rows in another order get their answers in that order."""
    _steady(kit)
    rows = min(2 + index % 4, kit.options.most_rows)
    arrays = kit.sampler.draw(rng, rows)
    order = rng.permutation(rows)
    wrong, straight = _infer(kit, arrays, _form(kit))
    if wrong:
        return wrong
    wrong, mixed = _infer(kit, {name: array[order] for name, array in arrays.items()}, _form(kit))
    return wrong or difference({name: array[order] for name, array in straight.items()}, mixed)


def _alone(kit: Kit, rng: np.random.Generator, index: int) -> str:
    """Rows asked together get what each gets alone."""
    _steady(kit)
    rows = min(2 + index % 3, kit.options.most_rows)
    arrays = kit.sampler.draw(rng, rows)
    wrong, together = _infer(kit, arrays, _form(kit))
    if wrong:
        return wrong
    for row in range(rows):
        wrong, one = _infer(kit, {name: array[row : row + 1] for name, array in arrays.items()}, _form(kit))
        wrong = wrong or difference({name: array[row : row + 1] for name, array in together.items()}, one)
        if wrong:
            return f"row {row} alone: {wrong}"
    return ""


def _spoiled(judge: Callable[[Heard], str]) -> Property:
    """Any hopeless request is refused as it should be."""

    def holds(kit: Kit, rng: np.random.Generator, index: int) -> str:
        name = HOPELESS[int(rng.integers(len(HOPELESS)))]
        _, sent = kit.request(_drawn(kit, rng, index), "flat")
        inputs = spoil(name, kit.filler.inputs(_drawn(kit, rng, index), "flat", []))
        if inputs is None:
            return ""
        wrong = judge(kit.ask("rest", sent._replace(body=written({"inputs": inputs}, "compact"))))
        return f"{name}: {wrong}" if wrong else ""

    return holds


def _worded(heard: Heard) -> str:
    return error_text(heard) if heard.refused else ""


def _callers(heard: Heard) -> str:
    if not heard.refused:
        return f"status {heard.status}: it was answered"
    return "" if heard.status < 500 else f"status {heard.status} for a fault of the caller"


def _mutated(kit: Kit, rng: np.random.Generator, index: int) -> str:
    """One byte of a good body gone, doubled or changed: answered or refused, and no fault of the server."""
    body = written({"inputs": kit.filler.inputs(_drawn(kit, rng, index), "flat", [])}, "compact")
    at = int(rng.integers(len(body)))
    way = int(rng.integers(3))
    middle = (b"", body[at : at + 1] * 2, bytes([int(rng.integers(32, 127))]))[way]
    heard = kit.ask("rest", kit.post(body[:at] + middle + body[at + 1 :]))
    return "" if heard.status < 500 else f"status {heard.status} for a fault of the caller"


def _spoiled_message(kit: Kit, rng: np.random.Generator, index: int) -> str:
    """The same over gRPC: a code for the caller's fault, with words."""
    name = IN_MESSAGES[int(rng.integers(len(IN_MESSAGES)))]
    inputs = spoil(name, kit.filler.inputs(_drawn(kit, rng, index), "contents", []))
    if inputs is None:
        return ""
    heard = kit.ask("grpc", Sent("ModelInfer", message={"model_name": kit.model.name, "inputs": inputs}))
    if not heard.refused:
        return f"{name}: it was answered"
    if heard.code not in CALLERS_FAULT:
        return f"{name}: {heard.code} for a fault of the caller"
    return error_text(heard)


def _infer(kit: Kit, arrays: Arrays, form: str) -> tuple[str, Arrays]:
    """What is wrong with an answer to a valid request, and its outputs."""
    try:
        heard, found = kit.infer(arrays, form)
    except Misformed as wrong:
        return str(wrong), {}
    if found is None:
        return f"a valid request is refused with {heard.status or heard.code}", {}
    return "", found.outputs


def _drawn(kit: Kit, rng: np.random.Generator, index: int) -> Arrays:
    return kit.sampler.draw(rng, min(1 + index % 4, kit.options.most_rows) if kit.model.rows else 1)


def _form(kit: Kit) -> str:
    return "flat" if "rest" in kit.transports else "contents"


def _steady(kit: Kit) -> None:
    """Nothing can be compared where the same request is told two things, or none."""
    if kit.plain(1) is None:
        raise Unfit("the plain request is not answered twice in the same way")


PROPERTIES: dict[str, Property] = {
    "valid-json": _valid("flat"),
    "valid-nested": _valid("nested"),
    "binary-as-json": _alike("binary", "flat"),
    "grpc-as-rest": _alike("contents", "flat"),
    "raw-as-contents": _alike("raw", "contents"),
    "permuted-rows": _permuted,
    "rows-alone": _alone,
    "spoiled-worded": _spoiled(_worded),
    "spoiled-refused": _spoiled(_callers),
    "mutated-body": _mutated,
    "spoiled-message": _spoiled_message,
}
"""By the name that cases use."""
