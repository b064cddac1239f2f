"""A package's original, loaded and asked once more in a fresh process that has what its lock says and nothing else.

    package folder -> sandbox: the lock's own interpreter, or this one with all other distributions hidden
                   -> the golden examples' answers are the same -> what was imported

Who packages a model has more installed than who serves it; what the model needs beyond its lock shows here, before
it is registered, and by name.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from penstock.build.examine import GOLDEN, Examined
from penstock.build.refusals import told_without_values
from penstock.errors import ModelFailed
from penstock.runtime.imports import Traced
from penstock.runtime.limits import Quota
from penstock.runtime.sandbox import run_task
from penstock.runtime.transform import TRANSFORMS

NOT_OURS = "the model's own code spoke in the build's place; do not use it"
TRACE = "penstock.runtime.imports:trace"


def ask_afresh(
    folder: Path,
    entry: Path,
    examined: Examined,
    *,
    scratch: Path,
    patience_s: float,
    python: Path | None = None,
    barred: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Load the original and have it answer the golden examples.

    Args:
        folder: The package's, which may be read.
        entry: The original's file in it.
        examined: Its kind and signature.
        scratch: An empty folder.
        patience_s: The longest that it may take.
        python: The interpreter of an environment that has the lock alone; None for this one.
        barred: Modules that this one has and the lock has not.

    Returns:
        Names of the top-level modules that it imported.

    Raises:
        BadConfig: It imports what the lock does not have.
        ModelFailed: It cannot be loaded, or answers otherwise than before.
    """
    task = Traced(
        entry=str(entry.resolve()),
        kind=examined.kind,
        signature=examined.signature,
        golden=str((folder / GOLDEN).resolve()),
        barred=barred,
        transforms=str((folder / TRANSFORMS).resolve()) if (folder / TRANSFORMS).exists() else "",
    )
    answer = sandboxed(TRACE, task, folder, scratch, patience_s=patience_s, python=python)
    try:
        return msgspec.convert(answer, tuple[str, ...])
    except msgspec.ValidationError as error:
        raise ModelFailed(
            "the sandbox answered something else than was asked", NOT_OURS, code="build.bad_answer"
        ) from error


def sandboxed(
    entry: str, task: msgspec.Struct, read: Path, scratch: Path, *, patience_s: float, python: Path | None = None
) -> object:
    """What an entry answers; where the model ended it, the error speaks of the model."""
    limits = Quota(time_s=patience_s)
    try:
        return run_task(entry, msgspec.to_builtins(task), read=[read], scratch=scratch, limits=limits, python=python)
    except ModelFailed as error:
        if error.code == "runtime.task_failed":
            raise ModelFailed(
                told_without_values(error.message.replace(entry, "the model")),
                "load it and ask it for a row where it was trained; what fails there fails here",
                code=error.code,
            ) from None
        hint = error.hint or "something that it calls ended its process: exit(), or a library that crashed"
        first, *rest = error.message.replace(entry, "the model").splitlines() or [""]
        # Of what it printed the last line says most; all of it is the model's own words.
        text = told_without_values(f"{first} {rest[-1]}" if rest else first)
        raise ModelFailed(text, hint, code=error.code) from None
