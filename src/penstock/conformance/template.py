"""A case's template and the model's metadata become a request.

In any JSON of a case, texts have ``{model}``, ``{version}``, ``{nothing}`` (a model that is not there) and
``{swapped}`` (the model in the other case) filled in, and an object of one key is replaced: ``$inputs``, ``$outputs``
and, in messages, ``$raw``. Tensors of the form ``binary`` put their bytes behind the JSON part, with the header that
says where it ends.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from urllib.parse import quote

import msgspec
import numpy as np

from penstock.conformance.case import Asked
from penstock.conformance.model import ModelUnderTest
from penstock.conformance.samples import Sampler, given_values
from penstock.conformance.spoils import spoil
from penstock.conformance.tensorforms import binary_tensor, json_tensor, raw_bytes, typed_tensor
from penstock.conformance.transport import Sent
from penstock.tensors import Arrays, TensorSpec

NOTHING = "no-model-of-this-name"


class Unfit(Exception):
    """The model gives no occasion for this case."""


class InputsWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``$inputs`` may hold.

    Attributes:
        rows: How many.
        form: ``mixed`` says the first as JSON and the others as raw bytes; ``bare`` has name, shape and datatype alone.
        values: By datatype, instead of drawn ones.
        spoil: A name of `penstock.conformance.spoils`.
        order: ``reversed`` for the last input first.
        parameters: Of each input.
    """

    rows: int = 1
    form: str = "flat"
    values: dict[str, list[object]] = {}
    spoil: str = ""
    order: str = ""
    parameters: dict[str, object] | None = None


class OutputsWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``$outputs`` may hold."""

    which: str = "all"
    parameters: dict[str, object] | None = None


class RawWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``$raw`` may hold: ``shorter`` lacks the last byte, ``fewer`` the last tensor, ``more`` has one more."""

    rows: int = 1
    spoil: str = ""


class Filler:
    """Fills templates for one model.

    Args:
        model: Whose metadata fill them.
        sampler: Whose values.
    """

    def __init__(self, model: ModelUnderTest, sampler: Sampler) -> None:
        self._model = model
        self._sampler = sampler
        self._words = {
            "{model}": model.name,
            "{version}": model.versions[-1] if model.versions else "",
            "{nothing}": NOTHING,
            "{swapped}": model.name.swapcase(),
        }

    def fill(self, asked: Asked) -> Sent:
        """The request.

        Raises:
            Unfit: The model gives no occasion for it.
        """
        tail: list[bytes] = []
        if asked.rpc:
            message = self._filled(asked.message, tail)
            return Sent(asked.rpc, message=message if isinstance(message, dict) else {})
        body = b""
        if asked.text is not msgspec.UNSET:
            body = self._text(asked.text).encode()
        elif asked.json is not msgspec.UNSET:
            body = written(self._filled(asked.json, tail), asked.style)
        headers = {"content-type": "application/json"} if body else {}
        body, more = _with_tail(body, tail, asked)
        headers |= more | {name: self._text(value) for name, value in asked.headers.items()}
        if asked.encoding == "gzip":
            body, headers["content-encoding"] = gzip.compress(body, mtime=0), "gzip"
        path = self._text(asked.path, quoted=True)
        given = {name: value for name, value in headers.items() if value}
        return Sent(f"{asked.method} {path}", given, body, chunked=asked.encoding == "chunked")

    def inputs(self, arrays: Arrays, form: str, tail: list[bytes]) -> list[dict[str, object]]:
        """The inputs in one of the forms; raw bytes go into `tail`."""
        found: list[dict[str, object]] = []
        for index, spec in enumerate(self._model.inputs):
            array = arrays[spec.name]
            if form == "binary" or (form == "mixed" and index):
                found.append(binary_tensor(spec, array))
                tail.append(raw_bytes(array))
            elif form == "contents":
                found.append(typed_tensor(spec, array))
            elif form == "bare":
                found.append({"name": spec.name, "shape": list(array.shape), "datatype": spec.datatype})
            else:
                found.append(json_tensor(spec, array, nested=form == "nested"))
        return found

    def _filled(self, value: object, tail: list[bytes]) -> object:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self._filled(one, tail) for one in value]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1 and next(iter(value)).startswith("$"):
            return self._replaced(*next(iter(value.items())), tail)
        return {key: self._filled(one, tail) for key, one in value.items()}

    def _replaced(self, key: str, wanted: object, tail: list[bytes]) -> object:
        if key == "$inputs":
            return self._wanted_inputs(msgspec.convert(wanted, InputsWanted), tail)
        if key == "$outputs":
            return self._outputs(msgspec.convert(wanted, OutputsWanted))
        return self._raws(msgspec.convert(wanted, RawWanted))

    def _wanted_inputs(self, wanted: InputsWanted, tail: list[bytes]) -> list[dict[str, object]]:
        arrays = self._sampler.plain(wanted.rows)
        if wanted.values:
            arrays = given_values(self._model, self._sampler, wanted.values)
        found = self.inputs(arrays, wanted.form, tail)
        if wanted.parameters is not None:
            found = [{**one, "parameters": wanted.parameters} for one in found]
        if wanted.spoil:
            spoiled = spoil(wanted.spoil, found)
            if spoiled is None:
                raise Unfit("the model has no input for it")
            found = spoiled
        return found[::-1] if wanted.order == "reversed" else found

    def _outputs(self, wanted: OutputsWanted) -> list[dict[str, object]]:
        more: dict[str, object] = {} if wanted.parameters is None else {"parameters": wanted.parameters}
        return [{"name": spec.name, **more} for spec in which_outputs(self._model, wanted.which)]

    def _raws(self, wanted: RawWanted) -> list[object]:
        arrays = self._sampler.plain(wanted.rows)
        raws = [raw_bytes(arrays[spec.name]) for spec in self._model.inputs]
        if wanted.spoil == "shorter":
            raws[-1] = raws[-1][:-1]
        raws = raws[:-1] if wanted.spoil == "fewer" else [*raws, b"\0"] if wanted.spoil == "more" else raws
        return [packed(raw) for raw in raws]

    def _text(self, text: str, *, quoted: bool = False) -> str:
        for word, value in self._words.items():
            text = text.replace(word, quote(value, safe="") if quoted else value)
        return text


def which_outputs(model: ModelUnderTest, which: str) -> tuple[TensorSpec, ...]:
    """All, the first or the last."""
    return {"all": model.outputs, "first": model.outputs[:1], "last": model.outputs[-1:]}[which]


def packed(raw: bytes) -> str:
    """Bytes as messages in JSON say them."""
    return msgspec.to_builtins(raw)  # type: ignore[no-any-return]


def written(value: object, style: str) -> bytes:
    """JSON in one of its spellings, which all mean the same."""
    if style == "pretty":
        return ("\r\n" + json.dumps(value, indent=4, ensure_ascii=False) + "\r\n\t").encode()
    if style == "reversed":
        return json.dumps(_reversed(value), ensure_ascii=False).encode()
    if style == "escaped":
        return _escaped(value).encode()
    return json.dumps(value, ensure_ascii=False).encode()


def _reversed(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _reversed(value[key]) for key in reversed(list(value))}
    return [_reversed(one) for one in value] if isinstance(value, list) else value


def _escaped(value: object) -> str:
    """Every character of every text by its number."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_escaped(key)}:{_escaped(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_escaped(one) for one in value) + "]"
    if isinstance(value, str):
        units = np.frombuffer(value.encode("utf-16-le"), "<u2")
        return '"' + "".join(f"\\u{unit:04x}" for unit in units) + '"'
    return json.dumps(value)


def _with_tail(body: bytes, tail: list[bytes], asked: Asked) -> tuple[bytes, dict[str, str]]:
    """The raw tensors behind the JSON part, spoiled where the case wants that, and the headers that go with them."""
    if not tail and asked.head == "right":
        return body, {}
    raw = b"".join(tail)
    raw = {"": raw, "none": b"", "more": raw + b"\0" * 8, "half": raw[: len(raw) // 2]}[asked.tail]
    values = {"right": str(len(body)), "none": "", "beyond": str(len(body) + len(raw) + 1000)}
    length = values.get(asked.head, asked.head)
    whole = raw if asked.head == "0" else body + raw
    return whole, {"inference-header-content-length": length, "content-type": "application/octet-stream"}
