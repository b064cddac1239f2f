"""Stage 4, serve: an inference request of the Open Inference Protocol V2 over REST, from its bytes.

    body --typed by the signature, in one pass--> Request        (inputs in the signature's order, as JSON)
         `-- does not fit --> any body --tensor by tensor--> Request, or the error with its path

The typed form is only quicker: whatever it does not take, the general one takes or refuses. Source: Open Inference
Protocol specification, ``inference_rest``; Triton's extensions for binary tensors, scheduling and shared memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import GenericAlias
from typing import Literal, NamedTuple, Protocol, cast

import msgspec
import numpy as np

from penstock import adapters
from penstock.errors import BadConfig, InvalidInput
from penstock.serve.inferhints import Parameters, Rest, span_of, with_hints
from penstock.serve.protocol import Request, SharedInput
from penstock.serve.tensordata import BF16, ELEMENTS, ONLY_RAW, from_json, from_raw, parse, shaped
from penstock.tensors import DTYPES, Array, Arrays, Signature, TensorSpec

_PLACES = tuple(f"inputs[{index}]" for index in range(100))
_MOST_FORMS = 256
LARGE_BYTES = 64 << 10
"""From here on a body of one tensor is worth a reader that makes no Python numbers."""


class InferInput(msgspec.Struct, gc=False):
    """One input, its data not yet read."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw(b"")
    parameters: Parameters | None = None


class InferBody(Rest, kw_only=True, gc=False):
    """The JSON part of a request."""

    inputs: list[InferInput]


class Values(msgspec.Struct, gc=False):
    """One input of the typed form; a subclass of it says its name, datatype and element type."""

    shape: list[int]
    parameters: None = None


class _Typed(NamedTuple):
    """Decoders of bodies whose inputs are the signature's, in its order."""

    signature: Signature
    flat: Callable[[bytes], InferBody]
    nested: Callable[[bytes], InferBody]


_decode_any = msgspec.json.Decoder(InferBody).decode


class LargeReader(Protocol):
    """What the adapters' ``reader`` table names."""

    @staticmethod
    def read(body: bytes, spec: TensorSpec) -> tuple[str, Array] | None:
        """The caller's id and the array of a model's one input; None for a body of another form."""


@lru_cache(1)
def _large_reader() -> LargeReader | None:
    """None where its library is not installed: the general reader does it all."""
    try:
        return cast("LargeReader", adapters.load("reader", "large-json"))
    except BadConfig:
        return None


class Requests:
    """Decodes bodies, and remembers the typed form of each signature."""

    def __init__(self) -> None:
        self._forms: dict[int, _Typed | None] = {}
        self._nested_first: set[int] = set()

    def from_json(self, body: bytes, signature: Signature) -> Request:
        """A request that is JSON alone.

        Raises:
            InvalidInput: With the field's path and never its value.
        """
        if len(body) >= LARGE_BYTES and len(signature.inputs) == 1 and signature.inputs[0].datatype in ("FP32", "FP64"):
            reader = _large_reader()
            large = reader.read(body, signature.inputs[0]) if reader else None
            if large is not None:
                return Request({signature.inputs[0].name: large[1]}, large[0])
        typed = self._form(signature)
        if typed is not None:
            found = self._typed(body, typed)
            if found is not None:
                return with_hints(found[0], found[1], signature)
        return from_parts(parse(body, _decode_any), memoryview(b""), signature)

    def _typed(self, body: bytes, typed: _Typed) -> tuple[InferBody, Arrays] | None:
        """The body and its arrays; None where the general form has to look at it."""
        key = id(typed.signature)
        first = key in self._nested_first
        for nested in (first, not first):
            try:
                found = (typed.nested if nested else typed.flat)(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if nested != first:
                (self._nested_first.add if nested else self._nested_first.discard)(key)
            return _arrays(found, typed.signature, nested=nested)
        return None

    def _form(self, signature: Signature) -> _Typed | None:
        """By identity: a signature is the same object for as long as its model is loaded."""
        key = id(signature)
        known = self._forms.get(key)
        if known is not None and known.signature is signature:
            return known
        if len(self._forms) >= _MOST_FORMS:
            self._forms.clear()
            self._nested_first.clear()
        made = self._forms[key] = typed_form(signature)
        return made


def typed_form(signature: Signature) -> _Typed | None:
    """Decoders for a signature; None where an input of it has no JSON form."""
    if any(spec.datatype in ONLY_RAW or not spec.shape for spec in signature.inputs):
        return None
    return _Typed(signature, _decoder(signature, nested=False), _decoder(signature, nested=True))


def _decoder(signature: Signature, *, nested: bool) -> Callable[[bytes], InferBody]:
    inputs = tuple(
        msgspec.defstruct(
            f"Input{index}",
            [("name", Literal[spec.name]), ("datatype", Literal[spec.datatype]), ("data", _data(spec, nested=nested))],
            bases=(Values,),
            kw_only=True,
            gc=False,
        )
        for index, spec in enumerate(signature.inputs)
    )
    kind = msgspec.defstruct("Typed", [("inputs", GenericAlias(tuple, inputs))], bases=(Rest,), kw_only=True, gc=False)
    return cast("Callable[[bytes], InferBody]", msgspec.json.Decoder(kind).decode)


def _data(spec: TensorSpec, *, nested: bool) -> object:
    kind = ELEMENTS[spec.datatype]
    for _ in range(len(spec.shape) if nested else 1):
        kind = GenericAlias(list, (kind,))
    return kind


def _arrays(body: InferBody, signature: Signature, *, nested: bool) -> tuple[InferBody, Arrays] | None:
    arrays: Arrays = {}
    for spec, tensor in zip(signature.inputs, body.inputs, strict=True):
        shape = tensor.shape
        if nested and len(spec.shape) > 1 and len(shape) != len(spec.shape):
            return None
        try:
            array = np.array(tensor.data, DTYPES[spec.datatype])
            arrays[spec.name] = shaped(array, shape, where="", nested=nested and len(shape) > 1)
        except (ValueError, OverflowError, InvalidInput):
            return None
    return body, arrays


def from_head(head: bytes, raw: memoryview, signature: Signature) -> Request:
    """A request whose JSON part is followed by raw tensors.

    Raises:
        InvalidInput: With the field's path and never its value.
    """
    return from_parts(parse(head, _decode_any), raw, signature)


def from_parts(body: InferBody, raw: memoryview, signature: Signature) -> Request:
    """The general form: any inputs in any order, from JSON, from raw bytes or in shared memory.

    Raises:
        InvalidInput: With the field's path and never its value.
    """
    arrays: Arrays = {}
    shared: list[SharedInput] = []
    names: set[str] = set()
    for index, tensor in enumerate(body.inputs):
        where = _PLACES[index] if index < len(_PLACES) else f"inputs[{index}]"
        if tensor.datatype not in DTYPES and tensor.datatype != BF16:
            known = ", ".join((*DTYPES, BF16))
            raise InvalidInput("the protocol has no such datatype", f"there are {known}", where=f"{where}.datatype")
        if tensor.name in names:
            raise InvalidInput("an input is given twice", "give each once", where=f"{where}.name")
        names.add(tensor.name)
        parameters = tensor.parameters
        if parameters and "shared_memory_region" in parameters:
            span = span_of(parameters, f"{where}.parameters")
            shared.append(SharedInput(tensor.name, tensor.datatype, tuple(tensor.shape), span, where))
        elif parameters and parameters.get("binary_data_size") is not None:
            size = _size(parameters["binary_data_size"], len(raw), where)
            arrays[tensor.name] = from_raw(raw[:size], tensor.datatype, tensor.shape, where=where)
            raw = raw[size:]
        else:
            arrays[tensor.name] = from_json(tensor.data, tensor.datatype, tensor.shape, where=where)
    if len(raw):
        raise InvalidInput(
            "bytes are left after the last tensor", "declare each tensor's binary_data_size", where="inputs"
        )
    request = with_hints(body, arrays, signature)
    return msgspec.structs.replace(request, shared=tuple(shared)) if shared else request


def _size(size: object, most: int, where: str) -> int:
    if type(size) is not int or not 0 <= size <= most:
        raise InvalidInput(
            "the size is not within the body",
            "it is the tensor's number of bytes",
            where=f"{where}.parameters.binary_data_size",
        )
    return size
