"""What a package's declared steps learn from, and what its manifest says of them.

    request -> rows of the parts -> `Teaching`;  transforms.json -> `AppliedTransforms`

Steps before the model learn from the train part where there is one, else from the validation part; calibration learns
from the validation part, or from the test part where it is declared so. The manifest says which, and of how many rows.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pandas as pd

from penstock.build.examine import MAX_SCORED_ROWS, TRUTH
from penstock.build.request import BuildRequest
from penstock.build.rows import Given, read_rows
from penstock.build.transforming import Teaching, prepared_rows
from penstock.errors import BadConfig, InvalidInput
from penstock.packages.tree import read_bytes
from penstock.records import AppliedStep, AppliedTransforms, Manifest
from penstock.runtime.transform import TRANSFORMS, Classes
from penstock.runtime.transformed import MAX_BYTES, Transforms, decode_transforms
from penstock.statistics.arraytables import write_table

_LEARNS = frozenset({"impute", "encode", "scale"})


def teaching_of(request: BuildRequest, given: Given | None) -> Teaching:
    """The rows that the request's steps learn from.

    Raises:
        BadConfig: The part that they are to be calibrated on is not given.
        InvalidInput: It cannot be read, or says nothing of the truth.
    """
    train = _part(request, "train") if request.transforms is not None and request.transforms.before else None
    judged = _judged(request, given)
    if judged is None:
        return Teaching(train=None if train is None else train.frame)
    if judged.labels is None:
        raise InvalidInput("there is no truth to calibrate by", "say which column holds it with --label", where="data")
    there = judged.labels.notna().to_numpy()
    return Teaching(
        train=None if train is None else train.frame,
        judged=judged.frame[there].reset_index(drop=True),
        truth=judged.labels[there].to_numpy(),
    )


def prepared(request: BuildRequest, given: Given | None) -> Given | None:
    """The rows as the model itself sees them, behind the steps that stand before it."""
    if given is None or request.transforms is None or not request.transforms.before:
        return given
    train = _part(request, "train")
    rows = prepared_rows(request.transforms, given.frame, None if train is None else train.frame)
    return Given(frame=rows, labels=given.labels)


def write_teaching(teaching: Teaching, place: Path) -> dict[str, str]:
    """The same rows as files for the sandbox: field of its task -> path."""
    tables = {"train": teaching.train, "judged": teaching.judged}
    if teaching.truth is not None:
        tables["truth"] = pd.DataFrame({TRUTH: teaching.truth})
    written: dict[str, str] = {}
    for name, table in tables.items():
        if table is not None:
            file = place / f"{name}.parquet"
            try:
                write_table(table, file)
            except (TypeError, ValueError) as error:  # Arrow's errors are these
                raise InvalidInput(
                    "the data has a column of several kinds, or two of one name", "make each one kind", where="data"
                ) from error
            written[name] = str(file)
    return written


def taught_by(manifest: Manifest, folder: Path, request: BuildRequest, given: Given | None) -> Manifest:
    """The manifest with what stands before and behind its model."""
    known = _known(folder)
    teaching = teaching_of(request, given)
    rows = 0 if given is None else len(given.frame)
    before = f"validation, {rows} rows" if teaching.train is None else f"train, {len(teaching.train)} rows"
    steps = [
        AppliedStep(stage="before", name=name, columns=step.columns, learned_from=before if name in _LEARNS else "")
        for name, step in known.before
    ]
    for name, step in known.after:
        part = getattr(step, "part", "") if name == "calibrate" else ""
        learned = f"{part}, {0 if teaching.judged is None else len(teaching.judged)} rows" if part else ""
        steps.append(AppliedStep(stage="after", name=name, learned_from=learned))
    fused, renamed = manifest.engine == "onnxruntime", renamed_classes(folder)
    applied = AppliedTransforms(steps=tuple(steps), fused=fused, classes=renamed)
    return msgspec.structs.replace(manifest, transforms=applied)


def renamed_classes(folder: Path) -> Classes:
    """The classes as the model itself names them; empty where they have no other names."""
    if not (folder / TRANSFORMS).exists():
        return ()
    return next((getattr(step, "learned", ()) for name, step in _known(folder).after if name == "labels"), ())


def _known(folder: Path) -> Transforms:
    return decode_transforms(read_bytes(folder, TRANSFORMS, limit=MAX_BYTES))


def _judged(request: BuildRequest, given: Given | None) -> Given | None:
    """Rows to calibrate on; None where nothing is."""
    part = "" if request.transforms is None else request.transforms.calibrated_on
    if not part:
        return None
    found = given if part == "validation" else _part(request, part)
    if found is None:
        raise BadConfig(f"it is to be calibrated on the {part} part, and there is none", f"give --data {part}=FILE")
    return _head(found)


def _part(request: BuildRequest, part: str) -> Given | None:
    """A further part of the data, read as the first."""
    if part not in request.parts:
        return None
    found = read_rows(msgspec.structs.replace(request, data=request.parts[part]))
    return None if found is None else _head(found)


def _head(given: Given) -> Given:
    """As many rows as the sandbox is given."""
    labels = None if given.labels is None else given.labels.head(MAX_SCORED_ROWS)
    return Given(frame=given.frame.head(MAX_SCORED_ROWS), labels=labels)
