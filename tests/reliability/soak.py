"""`make soak`: the full form of every figure of reliability, or of one (``G=g5``), and the table of what was reached.

soak.py [g5 ...]          the full forms
soak.py --short [g5 ...]  the forms that `make test` holds: counts alone
soak.py --teeth [g5 ...]  the shortest forms, each with a fault planted that must turn its figure red
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
HERE = Path("tests") / "reliability"
FOLDER = ROOT / "build" / "reliability"

TESTS = {
    "g1": (HERE / "test_g01_switches.py",),
    "g2": (HERE / "test_g02_kills.py", HERE / "test_g02_sandboxed.py"),
    "g3": (HERE / "test_g03_rollback.py",),
    "g4": (HERE / "test_g04_drain.py",),
    "g5": (HERE / "test_g05_overload.py",),
    "g6": (HERE / "test_g06_slow_clients.py",),
    "g7": (HERE / "test_g07_hostile.py", Path("tests/serve/test_bad_requests.py"), Path("tests/serve/test_http.py")),
    "g8": (HERE / "test_g08_fuzz.py",),
    "g9": (HERE / "test_g09_soak.py",),
    "g12": (HERE / "test_g12_disk.py",),
    "g13": (HERE / "test_g13_alone.py", Path("tests/journeys/test_control_plane.py")),
    "g16": (HERE / "test_g16_poison.py", Path("tests/serve/test_poison.py")),
}
"""Where each figure of docs/reliability.md is held."""


class Outcome(NamedTuple):
    """How the tests of one goal ended."""

    goal: str
    code: int
    seconds: float
    output: str


def run(goal: str, environment: dict[str, str], *words: str) -> Outcome:
    """The tests of one goal, in a process of their own."""
    begun = time.monotonic()
    files = [str(path) for path in TESTS[goal] if (ROOT / path).exists()]
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-rs", "--timeout", "1800", *(words or files)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Outcome(goal, done.returncode, time.monotonic() - begun, done.stdout)


def lines(file: Path) -> list[dict[str, object]]:
    """Figures that tests wrote."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def table(figures: list[dict[str, object]]) -> str:
    """Figures as a table for people."""
    rows = [("", "figure", "reached", "must", "")]
    for one in figures:
        ok = {True: "ok", False: "NOT OK", None: ""}[one["ok"]]  # type: ignore[index]
        reached = one["reached"]
        shown = f"{reached:g}" if isinstance(reached, int | float) else str(reached)
        rows.append((str(one["goal"]), str(one["figure"]), shown, str(one["must"]) or "-", ok))
    widths = [min(max(len(row[at]) for row in rows), 78) for at in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def soak(goals: list[str], *, short: bool = False) -> int:
    """The full forms, or the short ones; 0 where every figure that such a form holds was reached."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / ("short.jsonl" if short else "soak.jsonl")
    file.unlink(missing_ok=True)
    form = {} if short else {"PENSTOCK_FULL": "1"}
    outcomes = []
    for goal in goals:
        print(f"{goal} ...", flush=True)
        outcome = run(goal, {**form, "PENSTOCK_FIGURES": str(file)})
        outcomes.append(outcome)
        (FOLDER / f"{goal}.log").write_text(outcome.output)
        print(
            f"{goal} {'ok' if outcome.code == 0 else f'NOT OK, see {FOLDER / goal}.log'} {outcome.seconds:.0f} s",
            flush=True,
        )
    text = table(lines(file))
    (FOLDER / "table.txt").write_text(text + "\n")
    print(text)
    return int(any(outcome.code for outcome in outcomes))


def main() -> int:
    """Parse the words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("goals", nargs="*", help="g1 ... g16; all where none is named")
    parser.add_argument("--short", action="store_true", help="the forms of make test")
    parser.add_argument("--teeth", action="store_true", help="plant a fault for each")
    options = parser.parse_args()
    goals = [goal.lower() for goal in options.goals] or list(TESTS)
    unknown = sorted(set(goals) - TESTS.keys())
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}: there are {', '.join(TESTS)}")
    if options.teeth:
        sys.path.insert(0, str(ROOT))
        from tests.reliability.plants import teeth

        return teeth.bite(goals)
    return soak(goals, short=options.short)


if __name__ == "__main__":
    sys.exit(main())
