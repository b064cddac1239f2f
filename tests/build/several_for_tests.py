"""Several models examined by one sandboxed process: what takes its time there is importing, not examining.

Each model has a folder: ``given/model``, ``rows.parquet``, later ``scratch`` and ``package``. What follows the sandbox
is the build's own second half.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import joblib
import msgspec
import pandas as pd

from penstock.build.assemble import put_together
from penstock.build.examine import Examined, examine
from penstock.build.request import BuildRequest
from penstock.build.rows import read_rows
from penstock.errors import PenstockError
from penstock.packages.read import Package
from penstock.runtime.sandbox import run_task

Refused = Mapping[str, str]


def examine_all(tasks: Sequence[object], scratch: Path) -> list[object]:
    """The sandbox's entry: tasks by number, each with a folder of its own; a refusal is an answer."""
    found: list[object] = []
    for number, task in enumerate(tasks):
        place = scratch / str(number)
        place.mkdir()
        try:
            found.append({"examined": examine(task, place)})
        except PenstockError as error:
            found.append({"refused": {"code": error.code, "message": error.message}})
    return found


def lay_ready(place: Path, model: object, rows: pd.DataFrame, *, compress: int = 0) -> Path:
    """A model's folder, with its file and its rows (without the truth in ``y``)."""
    for part in ("given", "package"):
        (place / part).mkdir(parents=True)
    joblib.dump(model, place / "given" / "model", compress=compress)
    rows.drop(columns="y", errors="ignore").to_parquet(place / "rows.parquet")
    return place


def examine_some(places: Sequence[Path], scratch: Path) -> list[Examined | Refused]:
    """What one sandboxed process finds of these; its files lie in the folder of each."""
    scratch.mkdir()
    tasks = [{"model": str(place / "given" / "model"), "data": str(place / "rows.parquet")} for place in places]
    answers = run_task(f"{Path(__file__)}:examine_all", tasks, read=list(places), scratch=scratch)
    for number, place in enumerate(places):
        (scratch / str(number)).rename(place / "scratch")
    return [
        msgspec.convert(one["examined"], Examined) if "examined" in one else one["refused"]
        for one in answers  # type: ignore[attr-defined]
    ]


def packaged(place: Path, examined: Examined, rows: pd.DataFrame) -> Package:
    """The package of what was found, also when another test has made it."""
    (place / "package").mkdir(exist_ok=True)
    shutil.rmtree(place / "afresh", ignore_errors=True)
    request = BuildRequest(name="model", out=place.parent / "packages", data=rows, labels="y", lock=False)
    request.out.mkdir(exist_ok=True)
    return put_together(place, examined, read_rows(request), request)
