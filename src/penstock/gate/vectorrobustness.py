"""Do vectors hold still where the text does not change its meaning (part of ``gate``, asked by robustness)?

What comes in: a candidate that answers vectors, and rows. What goes out: findings: other spaces leave a vector where it
was, a slip of the pen moves it little (for the record), and text of every odd kind gets a vector of finite numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from penstock.gate.answers import answer
from penstock.gate.check import Candidate, LabelledRows, Question, Shown
from penstock.gate.vectors import cosines, vectors_of
from penstock.records import Finding
from penstock.statistics.metrics import FloatArray
from penstock.tensors import Array, Arrays

Ask = Callable[[str, str], Question]
_QUANTILE = 0.05
_SPACES = "Strip and join spaces before the tokenizer, or train it on texts as people write them."
_SLIPS = "Train it on texts with slips, or mend spelling before it."
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def steady_findings(candidate: Candidate, ask: Ask, rows: LabelledRows, *, near: float) -> list[Finding]:
    """What changed texts do to their vectors; nothing where the model reads no text.

    Args:
        candidate: Who answers.
        ask: A question of the check by key and title.
        rows: To be changed.
        near: Least cosine between a vector and the changed text's, but for one row in twenty.
    """
    texts = [spec.name for spec in candidate.package.manifest.signature.inputs if spec.datatype == "BYTES"]
    if not texts:
        return []
    random = np.random.default_rng(candidate.precision.seed)

    def changed(how: Callable[[str], str]) -> Arrays:
        return {name: _each(array, how) if name in texts else array for name, array in rows.inputs.items()}

    def asked(inputs: Arrays) -> FloatArray:
        return vectors_of(answer(candidate.engine, inputs))

    plain = asked(rows.inputs)
    slipped = changed(lambda text: _slip(text, random))
    return [
        _near(ask("spacing", "Do other spaces leave a vector alone?"), plain, asked(changed(_spaced)), near, _SPACES),
        _near(ask("slip", "Does a slip of the pen move a vector little?"), plain, asked(slipped), near, _SLIPS),
    ]


def odd_texts(inputs: Arrays, names: tuple[str, ...]) -> Iterator[tuple[str, Arrays]]:
    """For each kind of odd text its name, and rows that hold it; none without a name of an input of text."""
    kinds = (
        {}
        if not names
        else {
            "empty text": "",
            "spaces alone": " \t\n ",
            "a very long text": "water " * 20_000,
            "one word without end": "w" * 100_000,
            "emoji and marks": "\U0001f30a\u0301\u200d\U0001f6b0",
            "control characters": "a\x00b\x07\x1bc",
            "several scripts": "水 вода ماء νερό",
        }
    )
    for kind, text in kinds.items():
        few = {name: array[:4].copy() for name, array in inputs.items()}
        for name in names:
            few[name][...] = text
        yield kind, few


def _near(question: Question, plain: FloatArray, changed: FloatArray, near: float, remedy: str) -> Finding:
    found = cosines(plain, changed)
    low = float(np.quantile(found, _QUANTILE))
    shown = Shown(
        measured={"cosine_p05": low, "median": float(np.median(found)), "rows": len(found)}, limits={"near": near}
    )
    said = f"19 of 20 changed texts have a cosine of {low:.4f} or more with their own vector"
    if low >= near:
        return question.passed(f"Yes: {said}.", shown)
    return question.refused(f"No: {said}; {near:g} is the least.", remedy, shown)


def _each(array: Array, how: Callable[[str], str]) -> Array:
    made = np.empty(array.size, object)
    made[:] = [how(str(text)) for text in array.reshape(-1).tolist()]
    return made.reshape(array.shape)


def _spaced(text: str) -> str:
    return f"  {text.replace(' ', '   ')} "


def _slip(text: str, random: np.random.Generator) -> str:
    """One letter is another."""
    if not text:
        return text
    at = int(random.integers(len(text)))
    return text[:at] + _LETTERS[int(random.integers(len(_LETTERS)))] + text[at + 1 :]
