"""Hostile files of PyTorch, Keras and TensorFlow, judged where those libraries are: refused before they have a chance.

The plain form takes each so many-th; `PENSTOCK_FULL=1` takes all of them. The judge puts a hook into its process for
good, so it runs in one of its own; see `tests.security.judge`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.security.artifacts import all_artifacts

from figures_for_tests import FULL

ROOT = Path(__file__).parents[2]
FAMILIES = {"torch": 12, "keras": 12, "tensorflow": 6}
pytestmark = [pytest.mark.serial, pytest.mark.timeout(1800)]


def test_the_libraries_made_some_of_them() -> None:
    made = [one for one in all_artifacts() if one.name.startswith("made: ")]
    assert {one.family for one in made} == FAMILIES.keys()
    assert len(made) >= 50


@pytest.mark.parametrize("family", FAMILIES)
def test_each_is_refused_and_none_does_harm(family: str, tmp_path: Path) -> None:
    out = tmp_path / "verdicts"
    asked = ["--no-code", "--family", family, "--every", str(1 if FULL else FAMILIES[family]), "--out", str(out)]
    command = [sys.executable, "-m", "tests.security.judge", *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert verdicts
    assert all(one["refused"] for one in verdicts)
