"""Do vectors hold still where the text does not change its meaning (part of ``gate``, asked by robustness)?

What comes in: a candidate that answers vectors, and rows. What goes out: findings: other spaces leave a vector where it
was, and a slip of the pen moves it little (for the record).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from penstock.gate.answers import answer
from penstock.gate.check import Candidate, LabelledRows, Question, Shown
from penstock.gate.perturbations import respaced, slipped
from penstock.gate.vectors import cosines, vectors_of
from penstock.records import Finding
from penstock.statistics.metrics import FloatArray
from penstock.tensors import Arrays

Ask = Callable[[str, str], Question]
_QUANTILE = 0.05
SPACES = "Strip and join spaces before the tokenizer, or train it on texts as people write them."
SLIPS = "Train it on texts with slips, or mend spelling before it."


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

    def asked(inputs: Arrays) -> FloatArray:
        return vectors_of(answer(candidate.engine, inputs))

    plain = asked(rows.inputs)
    spaces = asked(respaced(rows.inputs, texts))
    slips = asked(slipped(rows.inputs, texts, seed=candidate.precision.seed))
    return [
        _near(ask("spacing", "Do other spaces leave a vector alone?"), plain, spaces, near, SPACES),
        _near(ask("slip", "Does a slip of the pen move a vector little?"), plain, slips, near, SLIPS),
    ]


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
