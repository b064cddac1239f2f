"""Read what ``--data`` names into labelled rows by the package's signature (stage 2, gate).

    file(s) -> frame -> inputs (conformed), labels, time, group -> GateData, with a digest per file

What comes in: one csv or parquet file, or a train, a validation and a test file; the names of the label, time and
group columns. What goes out: `GateData`. Values are never rounded or guessed: what does not fit is named.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from penstock.errors import BadConfig, InvalidInput
from penstock.gate.check import GateData, LabelledRows
from penstock.gate.groups import beside_of
from penstock.records import Dataset
from penstock.statistics.arraytables import array_columns, holds_arrays, read_arrays, read_table, stacked
from penstock.tensors import DTYPES, FLOATS, Array, Arrays, Signature, TensorSpec, conform

PARQUET = b"PAR1"
PARTS = ("train", "validation", "test")
PAIRED = "_2"
"""Behind the name of a model's one text: the column of the other text of a pair."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that are no inputs (they may be inputs too).

    Attributes:
        label: The truth.
        time: When each row happened; empty without.
        group: Whom each row is about; empty without.
        beside: What checks ask for besides (`Policy.reads`); one that is not there is left out.
    """

    label: str
    time: str = ""
    group: str = ""
    beside: tuple[str, ...] = ()


def parse_sources(words: Sequence[str]) -> dict[str, Path]:
    """``["train=a.csv", "validation=b.csv"]`` or ``["b.csv"]`` as part -> file.

    Raises:
        BadConfig: A part is unknown or named twice, or there is no validation file.
    """
    found: dict[str, Path] = {}
    for word in words:
        part, is_named, place = word.partition("=")
        if not is_named:
            part, place = "validation", word
        if part not in PARTS:
            near = difflib.get_close_matches(part, PARTS, n=1)
            raise BadConfig(
                f"there is no part of the data called {part}",
                f"did you mean {near[0]}?" if near else f"the parts are {', '.join(PARTS)}",
            )
        if part in found:
            raise BadConfig(f"two files are given as {part}", "give one file for each part")
        found[part] = Path(place)
    if "validation" not in found:
        raise BadConfig("no validation file is given", "add validation=FILE")
    return found


def read_data(sources: Mapping[str, Path], signature: Signature, columns: Columns) -> GateData:
    """The labelled rows of each file.

    Args:
        sources: Part (train, validation, test) -> csv or parquet file.
        signature: Of the package: which columns are read, and as what.
        columns: Label, time and group.

    Raises:
        BadConfig: A file or a column is missing, or a time cannot be read.
        InvalidInput: A column does not fit the signature; the message names it, never a value.
    """
    text = text_columns(signature)
    frames = {part: read_frame(path, text=text) for part, path in sources.items()}
    datasets = tuple(_dataset(part, sources[part], frame) for part, frame in frames.items())
    return gate_data(frames, signature, columns, datasets=datasets)


def gate_data(
    frames: Mapping[str, pd.DataFrame], signature: Signature, columns: Columns, *, datasets: Sequence[Dataset] = ()
) -> GateData:
    """The same from frames in memory.

    Raises:
        BadConfig: As `read_data`.
        InvalidInput: As `read_data`.
    """
    rows = {part: rows_of(frame, signature, columns) for part, frame in frames.items()}
    if "validation" not in rows:
        raise BadConfig("no validation rows are given", "the gate needs labelled rows")
    return GateData(
        train=rows.get("train"),
        validation=rows["validation"],
        test=rows.get("test"),
        time_name=columns.time,
        group_name=columns.group,
        datasets=tuple(datasets),
    )


def no_rows(signature: Signature) -> GateData:
    """What stands for data where nobody has any, of a model that takes bodies: checks that need some are not shown."""
    nothing = np.empty(0, object)
    inputs = {spec.name: nothing for spec in signature.inputs}
    return GateData(validation=LabelledRows(inputs=inputs, labels=nothing, labelled=False))


def read_frame(path: Path, *, text: Sequence[str] = ()) -> pd.DataFrame:
    """A csv (compressed or not), parquet, npz or npy file, told apart by their bytes.

    Args:
        path: The file.
        text: Columns of a csv that are text whatever they look like.

    Raises:
        BadConfig: It is not there, or not of such a kind.
    """
    if not path.is_file():
        raise BadConfig("there is no such data file", "check the path", where=path.name)
    with path.open("rb") as file:
        is_parquet = file.read(len(PARQUET)) == PARQUET
    try:
        arrays = read_arrays(path)
        if arrays is not None:
            return arrays
        if is_parquet:
            return read_table(path)
        return pd.read_csv(path, dtype=dict.fromkeys(text, "string"), low_memory=False)
    except (ValueError, OSError) as error:
        raise BadConfig("the data file is neither csv, parquet nor npz", "save it as one", where=path.name) from error


def rows_of(frame: pd.DataFrame, signature: Signature, columns: Columns) -> LabelledRows:
    """Rows of a frame: labelled where a column is named for it, which a classifier's always is.

    Of a model of one text, a second column ``NAME_2`` makes pairs.

    Raises:
        BadConfig: A column is missing, or a time cannot be read.
        InvalidInput: A column does not fit the signature, or a label is missing.
    """
    if frame.empty:
        raise InvalidInput("the data file has no rows", "give labelled rows")
    if not columns.label and any(spec.name == "label" for spec in signature.outputs):
        raise BadConfig("nobody said which column is the label", "say --label COLUMN", code="gate.no_label")
    frame = frame.rename(columns=str)
    labels = _column(frame, columns.label) if columns.label else pd.Series([""] * len(frame), dtype="string")
    if labels.isna().any():
        raise InvalidInput(
            f"{int(labels.isna().sum())} of {len(labels)} rows have no label",
            "leave them out of the file",
            where=columns.label,
        )
    return LabelledRows(
        inputs=inputs_of(frame, signature, apart=(columns.label, columns.time, columns.group), beside=columns.beside),
        labels=_labels(labels),
        time=_times(_column(frame, columns.time)) if columns.time else None,
        group=_column(frame, columns.group).astype("string").fillna("").to_numpy(object) if columns.group else None,
        paired=_paired(frame, signature),
        labelled=bool(columns.label),
        beside=beside_of(frame, columns.beside),
    )


def inputs_of(
    frame: pd.DataFrame, signature: Signature, *, apart: Sequence[str] = (), beside: Sequence[str] = ()
) -> Arrays:
    """The signature's arrays from a frame's columns.

    Args:
        frame: One column per input, or the columns of a single matrix input.
        signature: What the model takes.
        apart: Columns that are not inputs of a matrix whose columns have no names.
        beside: Columns that are none either where the matrix has no room for them.

    Raises:
        BadConfig: A column is missing.
        InvalidInput: A column does not fit; the message names it, never a value.
    """
    arrays: Arrays = {}
    for spec in signature.inputs:
        deep = array_columns(frame, apart=apart)
        if spec.name in frame.columns:
            arrays[spec.name] = _array(frame[spec.name], spec)
        elif len(signature.inputs) == len(deep) == 1:
            arrays[spec.name] = _array(frame[deep[0]], spec)
        else:
            names = list(spec.columns) or [str(name) for name in frame.columns if name not in apart]
            if len(names) != spec.shape[-1] > 0:
                names = [name for name in names if spec.columns or name not in beside]
            arrays[spec.name] = _matrix(frame, spec, names)
    return conform(signature, arrays)


def _paired(frame: pd.DataFrame, signature: Signature) -> Arrays | None:
    """The other text of each row, where there is one."""
    (first, *others) = signature.inputs
    other = f"{first.name}{PAIRED}"
    if others or first.datatype != "BYTES" or other not in frame.columns:
        return None
    return conform(signature, {first.name: _array(frame[other], first)})


# -- one column ----------------------------------------------------------------------------------


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name in frame.columns:
        return frame[name]
    near = difflib.get_close_matches(name, [str(one) for one in frame.columns], n=1)
    raise BadConfig(
        f"the data have no column {name}",
        f"did you mean {near[0]}?" if near else f"they have {', '.join(map(str, frame.columns[:20]))}",
        where=name,
    )


def _matrix(frame: pd.DataFrame, spec: TensorSpec, names: Sequence[str]) -> Array:
    """Several columns as the matrix that the signature takes."""
    if len(spec.shape) != 2 or spec.shape[-1] not in (-1, len(names)):
        _column(frame, spec.name)
    return np.column_stack([_array(_column(frame, name), spec).reshape(-1) for name in names])


def _array(column: pd.Series, spec: TensorSpec) -> Array:
    """One column in its spec's datatype: text as ``str`` with "" for missing, numbers with NaN for missing."""
    if spec.datatype == "BYTES":
        return column.astype("string").fillna("").to_numpy(object)
    wanted = DTYPES[spec.datatype]
    if holds_arrays(column):
        return _exact(stacked(column), spec)
    try:
        if spec.datatype in FLOATS:
            return column.astype("Float64").to_numpy(np.float64, na_value=np.nan).astype(wanted)
        exact = column.to_numpy(wanted)
        if (exact == column.to_numpy()).all():
            return exact
    except (TypeError, ValueError) as error:
        raise _misfit(spec) from error
    raise _misfit(spec)


def _exact(array: Array, spec: TensorSpec) -> Array:
    """Arrays in their spec's datatype; only fractions are rounded to narrower ones."""
    given = array.astype(DTYPES[spec.datatype])
    if array.dtype.kind == "f" and spec.datatype in FLOATS:
        return given
    if array.dtype.kind == "U" or not np.array_equal(given, array):
        raise _misfit(spec)
    return given


def _misfit(spec: TensorSpec) -> InvalidInput:
    return InvalidInput(
        f"the column does not hold {spec.datatype} alone", "mend its values or its type in the file", where=spec.name
    )


def _labels(column: pd.Series) -> Array:
    """Labels as plain numpy: numbers and booleans as they are, anything else as text."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(np.bool_)
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.to_numpy(np.int64)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(np.float64)
    return column.astype("string").to_numpy(object)


def _times(column: pd.Series) -> Array:
    """Times as seconds since the epoch, or as the numbers they are."""
    if column.isna().any():
        raise InvalidInput(f"{int(column.isna().sum())} rows have no time", "leave them out", where=str(column.name))
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(np.float64)
        # Milliseconds, where they cannot be seconds.
        return numbers / 1000 if numbers.min() > 3e11 else numbers
    try:
        stamps = pd.to_datetime(column, utc=True)
    except (ValueError, TypeError) as error:
        raise BadConfig("the time column cannot be read", "ISO 8601 is understood", where=str(column.name)) from error
    return stamps.to_numpy("datetime64[ns]").astype(np.int64) / 1e9


def text_columns(signature: Signature) -> list[str]:
    """Columns that the package takes as text, whatever a csv's look like."""
    return [name for spec in signature.inputs if spec.datatype == "BYTES" for name in (spec.columns or (spec.name,))]


def _dataset(part: str, path: Path, frame: pd.DataFrame) -> Dataset:
    """The reference that the verdict keeps: never the data."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Dataset(
        name=path.stem,
        digest=f"sha256:{digest}",
        rows=len(frame),
        role=part,
        place=path.name,
        columns={str(name): str(kind) for name, kind in frame.dtypes.items()},
    )
