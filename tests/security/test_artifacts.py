"""Hostile artifacts do no harm and are refused in words; harmless models are not refused; the judge is seen to fail.

The plain form takes each so many-th artifact; `PENSTOCK_FULL=1` takes all of them, with and without --allow-code, and
makes holes in a copy of the product. The judge puts a hook into its process for good, so it runs in one of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from figures_for_tests import FULL
from tests.security.artifacts import all_artifacts
from tests.security.doors import MAY_PASS
from tests.security.teeth import HARMS, HOLES

ROOT = Path(__file__).parents[2]
EVERY = 1 if FULL else 23
pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="walls are built for Linux only"),
]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"tests.security.{module}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_there_are_enough_of_them_of_every_kind() -> None:
    found = list(all_artifacts())
    families = Counter(one.family for one in found)
    assert len({(one.family, one.name, one.door) for one in found}) == len(found) >= 1100
    assert families.keys() >= {
        "pickle",
        "joblib",
        "torch",
        "keras",
        "skops",
        "onnx",
        "archive",
        "encoder",
        "mlflow",
        "mar",
        "taken sandbox",
        "package by hand",
    }
    assert min(families.values()) >= 10


def test_none_of_them_does_harm_and_each_is_refused(tmp_path: Path) -> None:
    done = run("judge", "--every", str(EVERY), "--out", str(tmp_path / "verdicts"))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    verdicts = [json.loads(line) for line in (tmp_path / "verdicts").read_text().splitlines()]
    assert len(verdicts) >= 60
    assert all(one["refused"] for one in verdicts if one["door"] not in MAY_PASS)


def test_no_harmless_model_is_refused() -> None:
    done = run("welcome", *(["--build", "--fresh"] if FULL else []))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert int(done.stdout.split()[-2]) >= 100


def test_every_canary_sings() -> None:
    done = run("teeth", "canaries")
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.keys() == {*HARMS, "harm where there is none"}
    assert [name for name, sang in told.items() if not sang] == []


@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: hole.what)
def test_every_hole_still_fits(hole) -> None:
    assert (ROOT / "src" / "penstock" / hole.file).read_text().count(hole.old) == 1


@pytest.mark.skipif(not FULL, reason="the full form: PENSTOCK_FULL=1")
def test_every_hole_is_told() -> None:
    done = run("teeth", "holes")
    assert done.returncode == 0, done.stdout[-4000:]
