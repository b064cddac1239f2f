"""What quality asks of answers that no truth is known for (part of ``gate``; `penstock.gate.checks.quality` asks it).

What comes in: a candidate whose answers are free of form (`penstock.gate.freeform`). What goes out: whether each row
has an answer, and that its quality is not shown, with what would show it.
"""

from __future__ import annotations

from collections.abc import Callable

from penstock.gate.answers import fault
from penstock.gate.check import Candidate, Question, Shown
from penstock.gate.evidence import counted
from penstock.gate.freeform import GIVE_BODIES, NO_BODIES, answers_bodies
from penstock.records import Finding

_TRUST = "or take it on trust by a policy (quality: advisory: [labels]), and go by its outcomes."


def unjudged_findings(candidate: Candidate, ask: Callable[[str, str], Question]) -> list[Finding]:
    """Two findings, or the first where an answer is not valid.

    Args:
        candidate: Who answers.
        ask: A question of the check by key and title.
    """
    valid, rows = ask("valid", "Does it answer every validation row?"), len(candidate.data.validation)
    labels = _not_shown(candidate, ask("labels", "Is it better than guessing?"))
    if not rows:
        return [valid.missing(NO_BODIES, GIVE_BODIES), labels]
    wrong = fault(candidate.package.manifest, candidate.outputs, rows)
    if wrong:
        return [valid.refused(f"No: {wrong}.", "Mend the model; every row must get a finite, valid answer.")]
    said = f"Yes: {counted(rows, 'row')}, an answer each; whether it is right is another question."
    return [valid.passed(said, Shown(measured={"rows": rows})), labels]


def _not_shown(candidate: Candidate, question: Question) -> Finding:
    manifest = candidate.package.manifest
    if answers_bodies(manifest):
        return question.unknown(
            "Not shown: it answers bodies that its handler alone can read, no figure that can be held to a truth.",
            f"Package the model itself (a .pt2 file, a class of your own) instead of the archive; {_TRUST}",
        )
    names = ", ".join(spec.name for spec in manifest.signature.outputs[:5])
    return question.unknown(
        f"Not shown: what it answers ({names}) is no label, no number and no vector a row.",
        f"Name its classes, or call one output prediction, and package it again; {_TRUST}",
    )
