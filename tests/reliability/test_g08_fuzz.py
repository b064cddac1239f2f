"""G8: our own parsers under bytes that nobody meant: nothing but their own refusals comes out, none takes a second."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from figures_for_tests import FULL, Figures
from tests.reliability.fuzz_for_tests import fuzz, parsers

pytestmark = [pytest.mark.serial, pytest.mark.timeout(1800)]

SECONDS = 600.0 if FULL else 16.0
ATHERIS = importlib.util.find_spec("atheris") is not None
NEVER = 20


def test_nothing_uncaught_comes_out_of_a_parser(tmp_path: Path, figures: Figures) -> None:
    found, close = parsers(tmp_path)
    guided = FULL and ATHERIS
    share = SECONDS / len(found) / (2 if guided else 1)
    runs, uncaught, slow = 0, [], []
    begun = time.monotonic()
    for number, parser in enumerate(found):
        one = fuzz(parser, seconds=share, seed=int(os.environ.get("PENSTOCK_SEED", "1")) + number)
        figures.note(f"inputs, {parser.name}", one.runs)
        figures.count(f"inputs of {parser.name} are many", one.runs, at_least=NEVER)
        runs += one.runs
        uncaught += one.uncaught
        slow += one.slow
    close()
    figures.note("seconds", round(time.monotonic() - begun, 1))
    figures.count("inputs", runs, at_least=NEVER * len(found))
    figures.count("uncaught exceptions", len(uncaught), at_most=0)
    figures.count("inputs that took a second", len(slow), at_most=0)
    print(*uncaught, *slow, sep="\n")
    figures.hold()


@pytest.mark.skipif(not FULL, reason="the full form: PENSTOCK_FULL=1, or make soak G=g8")
def test_nothing_uncaught_comes_out_where_branches_lead(tmp_path: Path, figures: Figures) -> None:
    """The same parsers under atheris, which sees what an input reached."""
    if not ATHERIS:
        pytest.skip("atheris is not installed: pip install atheris")
    found, close = parsers(tmp_path)
    close()
    runs, wrong = 0, []
    for parser in found:
        done = subprocess.run(
            [sys.executable, "-m", "tests.reliability.fuzz_for_tests", parser.name, str(int(SECONDS / 2 / len(found)))],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
        )
        said = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        runs += int(said[1]) if said else 0
        if done.returncode:
            wrong.append(f"{parser.name}: {done.stderr[-1500:]}")
    figures.count("inputs, guided by branches", runs, at_least=NEVER * len(found))
    figures.count("parsers with findings, guided by branches", len(wrong), at_most=0)
    print(*wrong, sep="\n")
    figures.hold()
