"""`make soak-teeth`: plant each fault in a copy of the source, run the shortest form, and see its figure turn red."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.reliability.plants.plants import PLANTS, Plant

ROOT = Path(__file__).parents[3]


class Misfit(Exception):
    """What a plant changes is not there any more."""


def planted(source: str, plant: Plant) -> str:
    """The file with the fault in it.

    Raises:
        Misfit: What it changes is not there exactly once.
    """
    if source.count(plant.old) != 1:
        raise Misfit(f"{plant.goal}, {plant.what}: {plant.file} holds it {source.count(plant.old)} times: say it anew")
    return source.replace(plant.old, plant.new)


def bite(goals: list[str]) -> int:
    """All plants of some goals; 0 where each was caught."""
    missed = 0
    for plant in PLANTS:
        if plant.goal not in goals:
            continue
        begun = time.monotonic()
        verdict = _try(plant)
        missed += verdict != "caught"
        print(
            f"{plant.goal:4} {verdict:8} {time.monotonic() - begun:4.0f} s  {plant.what} -> {plant.figure}", flush=True
        )
    print("every fault was caught" if not missed else f"{missed} not caught")
    return int(missed > 0)


def _try(plant: Plant) -> str:
    with tempfile.TemporaryDirectory(prefix="plant-") as folder:
        copy = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        file = copy / "penstock" / plant.file
        try:
            file.write_text(planted(file.read_text(), plant))
        except Misfit as misfit:
            print(misfit)
            return "MISFIT"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", "--timeout", "300", plant.test],
            cwd=ROOT,
            env={**os.environ, **_environment(copy, Path(folder))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    log = ROOT / "build" / "reliability" / f"plant-{plant.goal}-{PLANTS.index(plant)}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(done.stdout)
    if done.returncode == 0:
        return "MISSED"
    said = [line for line in done.stdout.splitlines() if "not reached:" in line and plant.figure in line]
    return "caught" if said else "OTHER"


def _environment(copy: Path, folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(copy), "PENSTOCK_TIMED": "1", "PENSTOCK_FIGURES": str(folder / "figures.jsonl")}
