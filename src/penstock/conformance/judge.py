"""Whether an answer is what a case expects, and in which words it is not.

Comes in: what was expected, and `Heard`. Goes out: a sentence; an empty one where all is well.

A pattern is JSON: a text names a type (``string``, ``number``, ``integer``, ``boolean``, ``object``, ``array``,
``any``), alternatives stand in one with bars, ``=text`` is that text, an object lists the fields it must have (those
with ``?`` may be missing or null), a list of one is a list of such; numbers and booleans stand for themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from penstock.conformance.case import ExpectedAnswer, TensorsExpected
from penstock.conformance.inferences import Inference, difference, read_inference
from penstock.conformance.model import ModelUnderTest
from penstock.conformance.template import which_outputs
from penstock.conformance.tensorforms import Misformed
from penstock.conformance.transport import OK_CODE, Heard
from penstock.tensors import DTYPES, Arrays

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,), "number": (int, float), "integer": (int,), "boolean": (bool,), "object": (Mapping,),
    "array": (list,), "any": (object,),
}  # fmt: skip
PlainAnswer = Callable[[int], Arrays | None]
"""What the plain request of so many rows was told; None where there is nothing to compare with."""


def deviation(expected: ExpectedAnswer, heard: Heard, model: ModelUnderTest, plain: PlainAnswer) -> str:
    """What is not as expected."""
    return (
        _status(expected, heard)
        or _error(expected, heard)
        or _headers(expected, heard)
        or _body(expected, heard, model)
        or _check(expected, heard, model)
        or _answer(expected, heard, model, plain)
    )


def error_text(heard: Heard) -> str:
    """What is wrong with the words of a refusal; empty where they are as the protocol wants them."""
    if heard.code:
        return "" if heard.text else f"{heard.code} comes without a word of what is wrong"
    try:
        said = heard.json()
    except ValueError:
        return 'the refusal is not JSON; the protocol wants {"error": text}'
    if not isinstance(said, Mapping) or not isinstance(said.get("error"), str) or not said["error"]:
        return 'the refusal has no text under "error"'
    return ""


def mismatch(pattern: object, value: object, where: str = "") -> str:
    """Where a value is not of a pattern; empty where it is."""
    place = where or "the body"
    if isinstance(pattern, str):
        if pattern.startswith("="):
            return "" if value == pattern[1:] else f"{place} is not {pattern[1:]!r}"
        kinds = [kind for name in pattern.split("|") for kind in KINDS[name]]
        fits = isinstance(value, tuple(kinds)) and not (
            isinstance(value, bool) and bool not in kinds and object not in kinds
        )
        return "" if fits else f"{place} is no {pattern.replace('|', ' or ')}"
    if isinstance(pattern, Mapping):
        return _object_mismatch(pattern, value, where)
    if isinstance(pattern, list):
        if not isinstance(value, list):
            return f"{place} is no array"
        found = (mismatch(pattern[0], one, f"{where}[{index}]") for index, one in enumerate(value))
        return next((one for one in found if one), "")
    return "" if value == pattern and type(value) is type(pattern) else f"{place} is not {pattern}"


def _object_mismatch(pattern: Mapping[str, object], value: object, where: str) -> str:
    if not isinstance(value, Mapping):
        return f"{where or 'the body'} is no object"
    for key, wanted in pattern.items():
        name = key.removesuffix("?")
        if key.endswith("?") and value.get(name) is None:
            continue
        if name not in value:
            return f"{where}{'.' if where else ''}{name} is missing"
        wrong = mismatch(wanted, value[name], f"{where}{'.' if where else ''}{name}")
        if wrong:
            return wrong
    return ""


def _status(expected: ExpectedAnswer, heard: Heard) -> str:
    wanted, found = (expected.code, heard.code) if heard.code else (expected.status, str(heard.status))
    if not wanted or any(_is(one, found, refused=heard.refused) for one in wanted):
        return ""
    return f"{'code' if heard.code else 'status'} {found}, and not {' or '.join(wanted)}"


def _is(wanted: str, found: str, *, refused: bool) -> bool:
    if wanted == "error":
        return refused
    if wanted.startswith("!"):
        return found != wanted[1:] and refused
    return found == wanted or (wanted.endswith("xx") and found[:1] == wanted[0])


def _error(expected: ExpectedAnswer, heard: Heard) -> str:
    return error_text(heard) if expected.error and heard.refused else ""


def _headers(expected: ExpectedAnswer, heard: Heard) -> str:
    for name, part in expected.headers.items():
        if part not in heard.headers.get(name, "").lower():
            return f"the header {name} is {heard.headers.get(name) or 'missing'}, and not {part}"
    return ""


def _body(expected: ExpectedAnswer, heard: Heard, model: ModelUnderTest) -> str:
    pattern = expected.body
    if not isinstance(pattern, str | list | Mapping) or (expected.empty and not heard.body.strip() and not heard.code):
        return ""
    try:
        return mismatch(_filled(pattern, model), heard.json())
    except ValueError:
        return "the body is not JSON"


def _filled(pattern: object, model: ModelUnderTest) -> object:
    """The model's name in place of its word."""
    if isinstance(pattern, Mapping):
        return {key: _filled(one, model) for key, one in pattern.items()}
    if isinstance(pattern, list):
        return [_filled(one, model) for one in pattern]
    return pattern.replace("{model}", model.name) if isinstance(pattern, str) else pattern


def _answer(expected: ExpectedAnswer, heard: Heard, model: ModelUnderTest, plain: PlainAnswer) -> str:
    if expected.answer is None or heard.refused:
        return ""
    stream = heard.message.get("infer_response")
    if isinstance(stream, Mapping):
        heard = heard._replace(message=stream)
    try:
        found = read_inference(heard, model)
    except Misformed as wrong:
        return str(wrong)
    same = plain(expected.answer.rows) if expected.answer.same else None
    return _tensors(expected.answer, found, model) or (difference(found.outputs, same) if same else "")


def _tensors(expected: TensorsExpected, found: Inference, model: ModelUnderTest) -> str:
    names = [spec.name for spec in which_outputs(model, expected.outputs)]
    version = model.versions[-1] if model.versions else ""
    if names and sorted(found.outputs) != sorted(names):
        return f"the outputs are {', '.join(found.outputs)}, and not {', '.join(names)}"
    if expected.id and found.id != expected.id:
        return f"the id is {found.id or 'missing'}, and not {expected.id}"
    if expected.name and found.model != model.name:
        return f"model_name is {found.model or 'missing'}, and not {model.name}"
    if expected.version and found.version != version:
        return f"model_version is {found.version or 'missing'}, and not {version}"
    if expected.binary is not None and bool(found.binary) != expected.binary:
        return (
            "the outputs are no raw bytes" if expected.binary else "the outputs are raw bytes, which nobody asked for"
        )
    return ""


def _check(expected: ExpectedAnswer, heard: Heard, model: ModelUnderTest) -> str:
    return CHECKS[expected.check](heard, model) if expected.check and not heard.refused else ""


def _datatypes(heard: Heard, model: ModelUnderTest) -> str:
    unknown = [spec for spec in (*model.inputs, *model.outputs) if spec.datatype not in (*DTYPES, "BF16")]
    return f"{unknown[0].name} is {unknown[0].datatype}, which the protocol does not have" if unknown else ""


def _shapes(heard: Heard, model: ModelUnderTest) -> str:
    for spec in (*model.inputs, *model.outputs):
        if any(size < -1 or size == 0 for size in spec.shape):
            return f"{spec.name} has the shape {list(spec.shape)}: a dimension is a size, or -1 where it is free"
    return ""


def _names(heard: Heard, model: ModelUnderTest) -> str:
    for specs in (model.inputs, model.outputs):
        names = [spec.name for spec in specs]
        if not names or "" in names or len(set(names)) != len(names):
            return "inputs and outputs are not each named once"
    return ""


def _listed(heard: Heard, model: ModelUnderTest) -> str:
    """Whether the model is in a list of models or statistics, wherever that stands."""
    said = heard.json()
    lists = [said] if isinstance(said, list) else list(said.values()) if isinstance(said, Mapping) else []
    entries = [one for found in lists if isinstance(found, list) for one in found]
    names = [one.get("name") if isinstance(one, Mapping) else one for one in entries]
    return "" if model.name in names else f"{model.name} is not among {len(names)} entries"


def _not_ready(heard: Heard, model: ModelUnderTest) -> str:
    """Of a model that is not there, gRPC may say an error, or ``ready: false``."""
    return "" if heard.code == OK_CODE and not heard.message.get("ready") else "it is said to be ready"


def _classes(heard: Heard, model: ModelUnderTest) -> str:
    """Triton's extension classification: texts of ``score:index`` in place of the output."""
    said = heard.json()
    outputs = said.get("outputs") if isinstance(said, Mapping) else None
    texts = (
        outputs[0].get("data") if isinstance(outputs, list) and outputs and isinstance(outputs[0], Mapping) else None
    )
    good = isinstance(texts, list) and texts and all(isinstance(one, str) and ":" in one for one in texts)
    return "" if good else "the output is no list of texts score:index"


def _no_nulls(heard: Heard, model: ModelUnderTest) -> str:
    said = heard.json()
    null = [name for name, value in said.items() if value is None] if isinstance(said, Mapping) else []
    return f"{null[0]} is null" if null else ""


CHECKS: dict[str, Callable[[Heard, ModelUnderTest], str]] = {
    "datatypes": _datatypes, "shapes": _shapes, "names": _names, "listed": _listed, "not-ready": _not_ready,
    "classes": _classes, "no-nulls": _no_nulls,
}  # fmt: skip
"""Further checks, by name."""
