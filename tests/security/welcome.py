"""Asks after every harmless model: `python -m tests.security.welcome [--build] [--fresh] [FAMILY ...]`; none is refused.

Each is audited in the sandbox; with ``--build`` it is packaged whole: loaded, compiled, compared, and opened again.
The first of each family is asked as the product asks, by an interpreter started for it; those after it in forks of one
that has the libraries loaded, behind the same walls. With ``--fresh`` none is.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from penstock.build import proof
from penstock.build.assemble import build
from penstock.build.examine import Looked, Task
from penstock.build.folders import archive_folder
from penstock.build.request import BuildRequest
from penstock.build.sources import archive_source, find_source
from penstock.errors import PenstockError
from tests.security.harmless import Harmless, harmless
from tests.security.judge import Judge

LOOK = "penstock.build.examine:look"


def main() -> int:
    """Say which were refused, and how many there were."""
    judge = Judge(fresh="--fresh" in sys.argv)
    refused, families = 0, Counter[str]()
    wanted = [word for word in sys.argv[1:] if not word.startswith("--")]
    started = proof.run_task
    for one in harmless():
        if wanted and one.family not in wanted:
            continue
        fresh = "--fresh" in sys.argv or not families[one.family]
        proof.run_task = started if fresh else judge.forks.run_task  # type: ignore[assignment]
        place, out = judge.work / "artifact", judge.work / "out"
        for folder in (place, out):
            folder.mkdir()
        try:
            (_build if "--build" in sys.argv else _look)(one, place, out)
        except PenstockError as error:
            refused += 1
            print(f"REFUSED {one.family} / {one.name}: {error}")
        families[one.family] += 1
        for folder in (place, out):
            shutil.rmtree(folder)
    judge.close()
    print(", ".join(f"{family} {count}" for family, count in families.items()))
    print(f"{refused} refused of {families.total()} models")
    return int(refused > 0)


def _build(one: Harmless, place: Path, out: Path) -> None:
    rows = None if one.rows is None else one.rows
    build(one.make(place), BuildRequest(name="model", out=out, data=rows, lock=False))


def _look(one: Harmless, place: Path, out: Path) -> None:
    """As the build does it, up to the audit; a class is code, and named as such."""
    path = one.make(place)
    source = find_source(path)
    file = out / "model"
    if source is not None:
        archive_source(source, file)
    elif path.is_dir():
        archive_folder(path, file)
    else:
        shutil.copyfile(path, file)
    task = Task(model=str(file), allow_code=source is not None and source.named_code)
    found = proof.sandboxed(LOOK, task, out, out, patience_s=30.0)
    assert isinstance(found, dict)
    Looked(**found)


if __name__ == "__main__":
    sys.exit(main())
