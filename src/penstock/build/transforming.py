"""A loaded model with its declared steps around it: what they learn, and how all of it becomes one graph.

    declaration + rows -> learn step by step -> the model's own inputs, told from prepared rows -> TransformedOriginal

What comes in: an `Original`, a `Declaration`, and the rows to learn from. What goes out: an `Original` that takes raw
columns, and is signed, compiled, compared and scored as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import pandas as pd

from penstock.build.backward import raw_rows, step_edges
from penstock.build.declaration import Declaration
from penstock.build.format import Compiled, Original, Specs
from penstock.build.graphs.fusion import fused
from penstock.build.probes import answered_row, complete
from penstock.build.refusals import answer_those
from penstock.build.schema import column_specs, stack, take, to_arrays, with_nullable
from penstock.errors import InvalidInput
from penstock.runtime.transform import AfterStep, BeforeStep, Classes, ColumnTable
from penstock.runtime.transformed import Feed, Transforms, fed
from penstock.statistics.arraytables import array_columns
from penstock.tensors import FLOATS, Array, Arrays, TensorSpec, datatype_of

EXAMPLES = 64
WHERE = "transforms"


class Teaching(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that steps learn from.

    Attributes:
        train: For steps before the model; None where validation rows have to do.
        judged: For calibration; None where nothing is calibrated.
        truth: Of those, one entry a row; None where nobody gave it.
    """

    train: pd.DataFrame | None = None
    judged: pd.DataFrame | None = None
    truth: Array | None = None


class TransformedOriginal(Original):
    """A model behind and before its steps.

    Attributes:
        transforms: With what was learned.
    """

    def __init__(self, original: Original, transforms: Transforms, classes: Classes, answers: Arrays) -> None:
        self.transforms = transforms
        self._original = original
        self._classes = classes
        self._answers = answers

    @property
    def classes(self) -> Classes:
        """By the names that it answers."""
        return self._classes

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """Raw columns; the model's own inputs where nothing stands before it."""
        return self.transforms.inputs if self.transforms.before else self._original.inputs(frame)

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """Through all steps."""
        inner = self.transforms.inner(inputs)
        return self.transforms.outward(self._original.answer(inner, self.transforms.inward(rows)))

    def graphs(self, inputs: Specs, outputs: Specs) -> Iterator[Compiled]:
        """Each graph of the model, with the steps in it."""
        own = tuple(
            TensorSpec(name=name, datatype=datatype_of(array.dtype), shape=(-1, *array.shape[1:]))
            for name, array in self._answers.items()
        )
        for compile_graph in self._original.graphs(self.transforms.inner(inputs), own):
            yield _fusing(compile_graph, self.transforms, inputs, outputs)

    def edges(self, inputs: Specs, rows: Arrays) -> Arrays | None:
        """Rows next to the model's thresholds, and next to those of the steps."""
        inner = self.transforms.inner(inputs)
        found = self._original.edges(inner, complete(self.transforms.inward(rows)))
        if not self.transforms.before:
            return found
        parts = list(step_edges(self.transforms, rows))
        parts += [] if found is None else [raw_rows(self.transforms, found, rows)]
        return stack(parts) if parts else None


def transform(
    original: Original, declaration: Declaration, frame: pd.DataFrame, teaching: Teaching
) -> TransformedOriginal:
    """Put the steps around a model.

    Args:
        original: It.
        declaration: What was declared.
        frame: Rows as the package will be asked for them.
        teaching: Rows to learn from.

    Raises:
        InvalidInput: Rows, steps and model do not fit each other.
    """
    before, inner = Transforms(), original.inputs
    if declaration.before:
        before = _learned_before(original, declaration, frame, teaching)
    specs = before.inputs or inner(frame)
    source = frame if teaching.judged is None else teaching.judged
    rows = to_arrays(source, specs)
    if teaching.judged is None:
        rows = take(rows, slice(0, EXAMPLES))
    raw = before.inner(specs)
    asked = answer_those(lambda part: original.answer(raw, before.inward(part)), rows)
    if not len(asked.kept):
        raise InvalidInput(
            f"behind the steps the model answers no row ({asked.why})",
            "declare the steps that it was trained behind, in their order",
            where=WHERE,
        )
    truth = None if teaching.truth is None else teaching.truth[asked.kept]
    answers, classes, after = asked.answers, original.classes, []
    for name, step in declaration.after:
        taught: AfterStep = step.learn(answers, classes, truth)
        answers, classes = taught.apply(answers), taught.classes_after(classes)
        after.append((name, taught))
    first = take(asked.answers, slice(0, 1))
    return TransformedOriginal(original, msgspec.structs.replace(before, after=tuple(after)), classes, first)


def _fusing(compile_graph: Compiled, transforms: Transforms, inputs: Specs, outputs: Specs) -> Callable[[], bytes]:
    return lambda: fused(compile_graph(), transforms, inputs, outputs)


def _learned_before(
    original: Original, declaration: Declaration, frame: pd.DataFrame, teaching: Teaching
) -> Transforms:
    """Steps before the model, and which columns they and the model need."""
    specs = _raw_specs(frame, declaration.before)
    steps, prepared = _taught(declaration, frame, specs, teaching.train)
    feeds = _feeds(original, prepared)
    needed = {column for feed in feeds for column in feed.columns}
    for _, step in reversed(steps):
        needed = {step.made().get(column, column) for column in needed}
    used = tuple(spec for spec in specs if spec.name in needed)
    return Transforms(inputs=used, before=tuple(_only(steps, needed)), feeds=feeds)


def prepared_rows(declaration: Declaration, frame: pd.DataFrame, train: pd.DataFrame | None) -> pd.DataFrame:
    """Rows as the model itself sees them, for one that is written to a file by being asked.

    Raises:
        InvalidInput: Rows and steps do not fit each other.
    """
    _, prepared = _taught(declaration, frame, _raw_specs(frame, declaration.before), train)
    return _frame(prepared)


def _taught(
    declaration: Declaration, frame: pd.DataFrame, specs: Specs, train: pd.DataFrame | None
) -> tuple[list[tuple[str, BeforeStep]], ColumnTable]:
    """The steps before a model with what they learned, and what they make of rows."""
    table = _table(frame if train is None else _same_columns(train, specs), specs)
    steps: list[tuple[str, BeforeStep]] = []
    for name, step in declaration.before:
        taught = step.learn(table)
        table = taught.apply(table)
        steps.append((name, taught))
    prepared = _table(frame, specs)
    for _, taught in steps:
        prepared = taught.apply(prepared)
    return steps, prepared


def _frame(table: ColumnTable) -> pd.DataFrame:
    """Columns as pandas has them: missing texts are None."""
    gaps = {name: np.where(column == "", None, column) for name, column in table.items() if column.dtype.kind == "O"}  # type: ignore[call-overload]
    return pd.DataFrame({**table, **gaps})


def _only(steps: Sequence[tuple[str, BeforeStep]], needed: set[str]) -> Iterator[tuple[str, BeforeStep]]:
    """Steps on columns that the model reads; what they did to others nobody sees."""
    there = set(needed)
    for name, step in steps:
        columns = tuple(column for column in step.columns if column in there)
        if columns:
            kept = msgspec.structs.replace(step, columns=columns)  # type: ignore[type-var]
            there |= set(kept.made())
            yield name, kept


def _raw_specs(frame: pd.DataFrame, steps: Sequence[tuple[str, BeforeStep]]) -> Specs:
    """One input a column; numbers that may be missing are fractions.

    Raises:
        InvalidInput: There are arrays among the columns.
    """
    deep = array_columns(frame)
    if deep:
        raise InvalidInput(
            f"the column {deep[0]} holds arrays, and the steps before a model are of single values",
            "do it inside of the model, or in a class of your own",
            where=WHERE,
        )
    filled = {column for name, step in steps if name == "impute" for column in step.columns}
    specs = column_specs(frame)
    return tuple(
        msgspec.structs.replace(spec, datatype="FP64")
        if spec.name in filled and spec.datatype not in ("BYTES", *FLOATS)
        else spec
        for spec in specs
    )


def _same_columns(train: pd.DataFrame, specs: Specs) -> pd.DataFrame:
    """The train part's columns.

    Raises:
        InvalidInput: It lacks one.
    """
    lacking = [spec.name for spec in specs if spec.name not in train.columns]
    if lacking:
        raise InvalidInput(
            f"the train part lacks columns that the validation part has: {', '.join(lacking[:8])}",
            "give the same columns in each part",
            where="data",
        )
    return train


def _table(frame: pd.DataFrame, specs: Specs) -> ColumnTable:
    """Columns as steps have them."""
    try:
        return {name: array.reshape(-1) for name, array in to_arrays(frame, specs).items()}
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            "a column is of one kind in one part of the data and of another in the other",
            "give the same types in each part",
            where="data",
        ) from error


def _feeds(original: Original, table: ColumnTable) -> tuple[Feed, ...]:
    """The model's own inputs, told as if the prepared rows were all that there is.

    Raises:
        InvalidInput: It takes other columns than there are, or of another kind.
    """
    specs = original.inputs(_frame(table))
    feeds = tuple(Feed(spec=spec, columns=_columns_of(spec, specs, tuple(table))) for spec in specs)
    for feed in feeds:
        for name in feed.columns:
            kind, wanted = datatype_of(table[name].dtype), feed.spec.datatype
            if (kind == "BYTES") != (wanted == "BYTES") or (kind in FLOATS and wanted not in FLOATS):
                raise InvalidInput(
                    f"the model takes {wanted}, and the column {name} is {kind} after the steps",
                    "encode texts; ordinal gives whole numbers",
                    where=WHERE,
                )
    arrays = {feed.spec.name: fed(feed, table) for feed in feeds}
    open_specs = with_nullable(original.answer, specs, answered_row(original, specs, arrays))
    return tuple(Feed(spec=spec, columns=feed.columns) for spec, feed in zip(open_specs, feeds, strict=True))


def _columns_of(spec: TensorSpec, specs: Specs, names: tuple[str, ...]) -> tuple[str, ...]:
    """What one input is made of."""
    if spec.columns:
        return spec.columns
    if spec.name in names and spec.shape[1:] in ((), (1,)):
        return (spec.name,)
    fits = len(spec.shape) == 2 and spec.shape[1] in (-1, len(names))
    if len(specs) == 1 and (fits or (len(spec.shape) == 1 and len(names) == 1)):
        return names
    raise InvalidInput(
        f"after the steps there are {len(names)} columns, and the model's input {spec.name} takes {list(spec.shape)}",
        f"the columns are {', '.join(names[:20])}",
        where=WHERE,
    )
