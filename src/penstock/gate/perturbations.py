"""LabelledRows a little, or a lot, unlike those the model knows (part of ``gate``).

What comes in: conformed inputs and their signature. What goes out: the same rows with noise, with one column missing,
with numbers out of range, with text never seen, spaced otherwise or with a slip of the pen. Types, ranks and row counts
never change (odd texts come four at a time), so an engine may be asked right away; whatever the signature forbids (a
missing value where none may be) is never made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from penstock.tensors import FLOATS, Array, Arrays, Signature, TensorSpec

UNSEEN = "penstock-never-seen"
FAR = 10.0
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ODD = {
    "empty text": "",
    "spaces alone": " \t\n ",
    "a very long text": "water " * 20_000,
    "one word without end": "w" * 100_000,
    "emoji and marks": "\U0001f30a\u0301\u200d\U0001f6b0",
    "control characters": "a\x00b\x07\x1bc",
    "several scripts": "水 вода ماء νερό",
}
_WORDLESS = 8
"""Letters of a script without spaces from which on they count as several words."""


def noisy(inputs: Arrays, signature: Signature, *, share: float, seed: int) -> Arrays:
    """Every number moved by normal noise of `share` of its column's standard deviation; whole numbers stay whole."""
    generator = np.random.default_rng(seed)
    return {
        spec.name: _noisy(inputs[spec.name], share, generator) if _is_number(spec) else inputs[spec.name]
        for spec in signature.inputs
    }


def without(inputs: Arrays, signature: Signature) -> Iterator[tuple[str, Arrays]]:
    """For each nullable column its name, and the rows with that column missing."""
    for spec in signature.inputs:
        if spec.nullable and spec.datatype in (*FLOATS, "BYTES"):
            nothing: str | float = "" if spec.datatype == "BYTES" else np.nan
            for name, place in _columns(inputs[spec.name], spec):
                changed = inputs[spec.name].copy()
                changed[place] = nothing
                yield name, {**inputs, spec.name: changed}


def beyond(inputs: Arrays, signature: Signature) -> Iterator[tuple[str, Arrays]]:
    """For each column of numbers its name, and the rows with it far out of range: ten spans up, then ten down."""
    for spec in signature.inputs:
        if _is_number(spec):
            for name, place in _columns(inputs[spec.name], spec):
                changed = inputs[spec.name].copy()
                changed[place] = _far(changed[place])
                yield name, {**inputs, spec.name: changed}


def unseen(inputs: Arrays, signature: Signature) -> Iterator[tuple[str, Arrays]]:
    """For each column of text its name, and the rows with a text that nobody has trained on."""
    for spec in signature.inputs:
        if spec.datatype == "BYTES":
            changed = np.full_like(inputs[spec.name], UNSEEN)
            yield spec.name, {**inputs, spec.name: changed}


def number_inputs(signature: Signature) -> tuple[str, ...]:
    """Inputs that noise can move."""
    return tuple(spec.name for spec in signature.inputs if _is_number(spec))


def prose_inputs(inputs: Arrays, signature: Signature) -> tuple[str, ...]:
    """Inputs that hold what people write, and no categories: most texts have several words, and most differ."""
    found = []
    for spec in signature.inputs:
        if spec.datatype == "BYTES":
            texts = [str(text) for text in inputs[spec.name].reshape(-1).tolist()]
            if sum(map(_worded, texts)) * 2 > len(texts) < len(set(texts)) * 2:
                found.append(spec.name)
    return tuple(found)


def respaced(inputs: Arrays, names: Sequence[str]) -> Arrays:
    """Texts with more spaces where there were some, before them and behind them."""
    return _rewritten(inputs, names, lambda text: f"  {text.replace(' ', '   ')} ")


def slipped(inputs: Arrays, names: Sequence[str], *, seed: int) -> Arrays:
    """Texts of which one letter is another."""
    random = np.random.default_rng(seed)

    def slip(text: str) -> str:
        if not text:
            return text
        at = int(random.integers(len(text)))
        return text[:at] + _LETTERS[int(random.integers(len(_LETTERS)))] + text[at + 1 :]

    return _rewritten(inputs, names, slip)


def odd_texts(inputs: Arrays, names: Sequence[str]) -> Iterator[tuple[str, Arrays]]:
    """For each kind of odd text its name, and rows that hold it; none without a name of an input of text."""
    for kind, text in _ODD.items() if names else ():
        few = {name: array[:4].copy() for name, array in inputs.items()}
        for name in names:
            few[name][...] = text
        yield kind, few


def _worded(text: str) -> bool:
    return " " in text.strip() or (not text.isascii() and len(text) > _WORDLESS)


def _rewritten(inputs: Arrays, names: Sequence[str], how: Callable[[str], str]) -> Arrays:
    return {name: _each(array, how) if name in names else array for name, array in inputs.items()}


def _each(array: Array, how: Callable[[str], str]) -> Array:
    made = np.empty(array.size, object)
    made[:] = [how(str(text)) for text in array.reshape(-1).tolist()]
    return made.reshape(array.shape)


def _is_number(spec: TensorSpec) -> bool:
    return spec.datatype not in ("BYTES", "BOOL")


def _columns(array: Array, spec: TensorSpec) -> Iterator[tuple[str, tuple[slice, ...] | tuple[slice, int]]]:
    """Each column of an input, and where it lies: one for ``[-1, 1]``, each of a matrix."""
    if array.ndim != 2 or array.shape[1] == 1:
        yield spec.name, (slice(None),)
        return
    for column in range(array.shape[1]):
        yield spec.columns[column] if spec.columns else f"{spec.name}[{column}]", (slice(None), column)


def _noisy(array: Array, share: float, generator: np.random.Generator) -> Array:
    values = array.astype(np.float64)
    known = np.isfinite(values)
    if not known.any():
        return array
    spread = np.nanstd(np.where(known, values, np.nan), axis=0)
    moved = values + generator.normal(size=values.shape) * share * np.nan_to_num(spread)
    whole = np.all(np.where(known, values == np.round(values), True), axis=0)
    return _within(np.where(whole, np.round(moved), moved), array.dtype)


def _far(array: Array) -> Array:
    values = array.astype(np.float64)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    span = max(high - low, 1.0)
    up = np.arange(len(values)) % 2 == 0
    far = np.where(up, high + FAR * span, low - FAR * span).reshape(-1, *([1] * (values.ndim - 1)))
    return _within(np.broadcast_to(far, values.shape), array.dtype)


def _within(values: Array, dtype: np.dtype[np.generic]) -> Array:
    """Back in the column's own type, at its ends where it does not reach further."""
    if dtype.kind in "iu":
        ends = np.iinfo(dtype.name)
        values = np.clip(values.astype(np.float64), float(ends.min), np.nextafter(float(ends.max), 0.0))
    return np.ascontiguousarray(values.astype(dtype))
