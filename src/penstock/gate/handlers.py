"""What a handler does with bodies that nobody meant for it (part of ``gate``, asked by robustness).

    known bodies -> answers;  odd bodies, one by one -> an answer or a visible error;  known bodies -> the same answers

What comes in: a candidate that answers bodies, and bodies that were given. What goes out: findings. An error is no
fault here: whoever sent such a body is told. A handler that dies of one, or answers others otherwise after it, is one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from penstock.errors import PenstockError
from penstock.gate.check import Candidate, Question, Shown
from penstock.gate.evidence import counted, evidence, table
from penstock.gate.freeform import GIVE_BODIES, NO_BODIES
from penstock.packages.handled import BODY
from penstock.records import Finding, Scalar
from penstock.runtime.bodies import JSON_TYPE, OCTETS, PLAIN, to_text
from penstock.runtime.engine import Engine

KNOWN_BODIES = 16
"""Bodies that are asked again after the odd ones."""

PATIENCE_S = 10.0
"""For one odd body."""

_ODD = {
    "nothing": to_text(PLAIN, b""),
    "text": to_text(PLAIN, b"penstock-never-seen"),
    "a broken object": to_text(JSON_TYPE, b'{"body": [1, '),
    "an empty object": to_text(JSON_TYPE, b"{}"),
    "null": to_text(JSON_TYPE, b"null"),
    "a list of other things": to_text(JSON_TYPE, b'[null, "a", {"b": []}, 1e999]'),
    "deep lists": to_text(JSON_TYPE, b"[" * 2000 + b"]" * 2000),
    "octets": to_text(OCTETS, bytes(range(256))),
    "a mebibyte": to_text(OCTETS, bytes(1 << 20)),
}


def handler_findings(candidate: Candidate, ask: Callable[[str, str], Question]) -> list[Finding]:
    """Whether it goes on answering.

    Args:
        candidate: Who answers.
        ask: A question of the check by key and title.
    """
    question = ask("odd", "Does it go on answering after bodies of odd kinds?")
    known = candidate.data.validation.inputs[BODY][:KNOWN_BODIES].tolist()
    if not known:
        return [question.missing(NO_BODIES, GIVE_BODIES)]
    before = [_asked(candidate.engine, text) for text in known]
    odd = {kind: _asked(candidate.engine, text) for kind, text in _ODD.items()}
    after = [_asked(candidate.engine, text) for text in known]
    raised = sum(one is None for one in odd.values())
    differing = sum(one != other for one, other in zip(before, after, strict=True))
    outcomes: list[dict[str, Scalar]] = [
        {"body": kind, "what came": "an error" if one is None else "an answer"} for kind, one in odd.items()
    ]
    shown = Shown(
        measured={"odd": len(odd), "raised": raised, "differing": differing, "bodies": len(known)},
        limits={"differing": 0},
        evidence=evidence(tables=[table("Odd bodies, one at a time", outcomes)]),
    )
    unanswered = sum(one is None for one in before)
    if unanswered:
        return [
            question.refused(
                f"No: {unanswered} of {counted(len(known), 'body')} that were given get no answer to begin with.",
                "Give bodies that it is made for, or mend the handler.",
                shown,
            )
        ]
    said = f"{len(odd)} odd bodies get {counted(raised, 'error')} and {counted(len(odd) - raised, 'answer')}"
    if not differing:
        return [question.passed(f"Yes: {said}; what it answered before, it answers afterwards.", shown)]
    return [
        question.refused(
            f"No: {said}; afterwards {differing} of {len(known)} bodies are answered otherwise, or not at all.",
            "Keep nothing of a request in the handler, and catch what a body may raise.",
            shown,
        )
    ]


def _asked(engine: Engine, text: str) -> str | None:
    """One body's answer; None where it raises."""
    body = np.empty(1, object)
    body[0] = text
    try:
        return str(engine.run({BODY: body}, timeout_s=PATIENCE_S)[BODY][0])
    except PenstockError:
        return None
