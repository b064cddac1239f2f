"""What a case needs of the model and of the run, and why it is left out where that is not met.

Comes in: a need by name, the model, what the run allows. Goes out: a sentence; an empty one where it is met.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from penstock.conformance.case import ProtocolCase
from penstock.conformance.model import ModelUnderTest
from penstock.tensors import DTYPES


class Allowed(NamedTuple):
    """What a run allows.

    Attributes:
        changes: The model may be unloaded and loaded.
        any_values: Inputs may hold any value of their datatype.
        rows: A request's, at most.
    """

    changes: bool = False
    any_values: bool = True
    rows: int = 5


def implied_needs(case: ProtocolCase) -> tuple[str, ...]:
    """What a case needs by what it asks."""
    text = msgspec.json.encode([case.ask, case.example]).decode()
    if case.example or "$raw" in text or '"binary"' in text or '"bare"' in text:
        return ("inputs",)
    return ("inputs", "json") if "$inputs" in text else ()


def lacking(need: str, model: ModelUnderTest, allowed: Allowed) -> str:
    """Why a need is not met.

    Args:
        need: Its name; with a datatype behind a colon, an input of that one.
        model: Which is asked.
        allowed: By the run.
    """
    name, _, datatype = need.partition(":")
    inputs = model.inputs
    met, why = {
        "inputs": (model.askable, "the metadata name no inputs that can be asked for"),
        "json": (model.in_json, "JSON has no form for the model's datatypes"),
        "versions": (bool(model.versions), "the model has no versions to ask for"),
        "rows": (model.rows and allowed.rows > 1, "the model does not take several rows"),
        "three-rows": (model.rows and allowed.rows > 2, "the model does not take three rows"),
        "many-inputs": (len(inputs) > 1, "the model has one input"),
        "one-input": (len(inputs) == 1 and -1 not in inputs[0].shape[1:], "the model has not one input of a fixed row"),
        "many-outputs": (len(model.outputs) > 1, "the model has one output"),
        "outputs": (bool(model.outputs), "the metadata name no outputs"),
        "matrix": (any(len(spec.shape) > 1 for spec in inputs), "the model has no input of two dimensions"),
        "datatype": (any(spec.datatype == datatype for spec in inputs), f"the model has no input of {datatype}"),
        "numbers": (any(_is_number(spec.datatype) for spec in inputs), "the model has no input of numbers"),
        "any-values": (allowed.any_values, "the model takes the example's values alone"),
        "changes": (allowed.changes, "the model may not be unloaded without --allow-changes"),
    }[name]
    return "" if met else why


def _is_number(datatype: str) -> bool:
    return datatype in DTYPES and DTYPES[datatype].kind in "fiu"
