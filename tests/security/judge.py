"""Judges every hostile artifact and every harmless model: `python -m tests.security.judge [--family F] [--fresh]`.

Each artifact goes through its door in a process that holds keys, under an audit hook, beside canaries. It must be
refused in words that name a way on and hold nothing of its values. With ``--allow-code`` its code runs, in the sandbox,
and the canaries must be as they were.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from penstock.build import proof
from penstock.errors import PenstockError
from tests.security.artifacts import all_artifacts
from tests.security.artifacts.artifact import Artifact
from tests.security.canaries import Canaries
from tests.security.doors import DOORS, FRESH, MAY_PASS, through
from tests.security.forks import Forks
from tests.security.places import Places
from tests.security.watch import Watch

MAX_WORDS = 1200
PACKAGES = ("serve PACKAGE", "pull, nobody", "pull, a stranger", "pull, revoked", "pull, trusted", "load", "release")
MARKS = ("<!-- what the judge found -->", "<!-- so far -->")


class Verdict(NamedTuple):
    """What became of one artifact at one door."""

    family: str
    name: str
    door: str
    refused: str
    wrong: list[str]
    seconds: float


class Judge:
    """One process, its canaries and its sandboxed template.

    Args:
        fresh: Start an interpreter for every task, as the product does.
        packages: Packages come too: start the places where they arrive.
    """

    def __init__(self, *, fresh: bool = False, packages: bool = False) -> None:
        self.folder = Path(mkdtemp(prefix="penstock-judge-"))
        self.work = self.folder / "work"
        scratch = self.folder / "scratch"
        for place in (self.work, scratch):
            place.mkdir()
        self.canaries = Canaries(self.folder / "canaries")
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.work)  # whoever asked before has kept the answer
        self.forks = Forks(self.work, scratch)
        self._real = proof.run_task
        self._forked = self._real if fresh else self.forks.run_task
        if not fresh:
            self.forks._ready()
        watched = (self.folder / "canaries", self.canaries.target.marker)
        self.places = Places(self.work / "places", watched) if packages else None
        self.doors = DOORS | (through(self.places) if self.places else {})
        self.canaries._environment = dict(os.environ)
        self.canaries.settle()
        self.watch = Watch(self.folder, *watched, ports=self.places.ports if self.places else frozenset())

    def judge(self, artifact: Artifact, door: str) -> Verdict:
        """Through one door."""
        place = self.work / "artifact"
        out = self.work / "out"
        for folder in (place, out):
            folder.mkdir()
        path = artifact.make(place, self.canaries.target)
        self.canaries.settle()
        refused, wrong = "", []
        proof.run_task = self._real if door in FRESH else self._forked  # type: ignore[assignment]
        begun = time.monotonic()
        self.watch.begin()
        try:
            self.doors[door](path, out)
        except PenstockError as error:
            refused = f"{error.code}: {error}"
            wrong = _in_words(error, self.canaries)
        except Exception as error:
            wrong = [f"{type(error).__name__}: {error}"[:300]]
        seen = self.watch.end()
        if not refused and not wrong and door not in MAY_PASS:
            wrong = ["it was let in"]
        wrong += seen + self.canaries.harmed() + (self.places.seen() if self.places else [])
        if self.canaries.leaked(out):
            wrong.append("the secret stands in what was made")
        left = [one.name for one in out.iterdir() if refused and not one.name.startswith(".")]
        for folder in (place, out):
            shutil.rmtree(folder, ignore_errors=True)
        if left and door in ("build", "unpack", "mar"):
            wrong.append(f"left behind: {left[:3]}")
        return Verdict(artifact.family, artifact.name, door, refused[:400], wrong, round(time.monotonic() - begun, 3))

    def close(self) -> None:
        """End what was started."""
        if self.places is not None:
            self.places.close()
        self.forks.close()
        self.canaries.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _in_words(error: PenstockError, canaries: Canaries) -> list[str]:
    """What is wrong with a refusal."""
    text = f"{error.message} {error.hint} {error.where}"
    wrong = []
    if not error.message or not error.hint:
        wrong.append(f"no reason or no way on: {text[:200]}")
    if not text.isprintable() or len(text) > MAX_WORDS:
        wrong.append(f"no words for people: {text[:200]!r}")
    if any(one in text for one in (canaries.token, canaries.target.marker, canaries.target.secret)):
        wrong.append("it tells values")
    return wrong


def doors_of(artifact: Artifact, *, code: bool) -> Iterator[str]:
    """Through which it goes."""
    if artifact.door == "package":
        yield from PACKAGES
        return
    yield artifact.door
    if code and artifact.door == "build":
        yield "code"


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge, print a table, write verdicts as JSON lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--family", default="")
    parser.add_argument("--name", default="")
    parser.add_argument("--fresh", action="store_true", help="an interpreter for every task")
    parser.add_argument("--every", type=int, default=1, help="each so many-th only")
    parser.add_argument("--no-code", action="store_true", help="leave --allow-code out")
    parser.add_argument("--out", type=Path, default=None, help="verdicts as JSON lines")
    parser.add_argument(
        "--document", type=Path, default=None, help="put the table into this document, between its marks"
    )
    told = parser.parse_args(arguments)
    chosen = [one for one in all_artifacts() if told.family in one.family and told.name in one.name][:: told.every]
    judge = Judge(fresh=told.fresh, packages=any(one.door == "package" for one in chosen))
    verdicts: list[Verdict] = []
    if told.out is not None:
        told.out.write_text("")
    try:
        for artifact in chosen:
            for door in doors_of(artifact, code=not told.no_code):
                verdicts.append(judge.judge(artifact, door))
                one = verdicts[-1]
                if told.out is not None:  # line by line: what was judged stays, if somebody ends it
                    with told.out.open("a") as lines:
                        lines.write(json.dumps(one._asdict()) + "\n")
                if one.wrong:
                    print(f"NOT OK {one.family} / {one.name} ({one.door}): {'; '.join(one.wrong)}", flush=True)
    finally:
        judge.close()
    print(table(verdicts))
    if told.document is not None:
        text = told.document.read_text()
        before, _, rest = text.partition(MARKS[0])
        told.document.write_text(f"{before}{MARKS[0]}\n\n{table(verdicts)}\n\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")
    return 1 if any(one.wrong for one in verdicts) else 0


def table(verdicts: Sequence[Verdict]) -> str:
    """By family and door: how many, refused, let in behind the walls, not as it should be."""
    rows = ["| family | door | artifacts | refused | ran in the sandbox | harm |", "|---|---|---|---|---|---|"]
    counts: Counter[tuple[str, str]] = Counter((one.family, one.door) for one in verdicts)
    for (family, door), count in counts.items():
        of = [one for one in verdicts if (one.family, one.door) == (family, door)]
        refused = sum(bool(one.refused) for one in of)
        rows.append(
            f"| {family} | {door} | {count} | {refused} | {count - refused} | {sum(bool(one.wrong) for one in of)} |"
        )
    rows.append(
        f"\n{len(verdicts)} runs, {sum(bool(one.wrong) for one in verdicts)} not as they must be, {sum(one.seconds for one in verdicts):.0f} s"
    )
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
