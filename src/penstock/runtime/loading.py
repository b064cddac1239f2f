"""How a model gets into a process behind walls: verified, started, loaded, and seen to answer its golden examples.

Comes in: a `Recipe`. Goes out: a `SandboxedModel` that has loaded, and whose files lie as they were signed.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from penstock.errors import ModelFailed, PenstockError, Untrusted
from penstock.packages.golden import Golden, check_golden
from penstock.packages.read import Package
from penstock.runtime.frames import Header, pack
from penstock.runtime.limits import Quota
from penstock.runtime.memory import available_bytes, require
from penstock.runtime.sandbox import start_worker
from penstock.runtime.sandboxedmodel import SandboxedModel

KILLED = "runtime.killed"
"""Code of a load that somebody ended from outside."""
_WATCH_S = 0.02
_GOLDEN_BYTES = 64 << 20
_ENTRY = "penstock.runtime.answering:serve"


class Recipe(NamedTuple):
    """How a worker is started.

    Attributes:
        name: The model's, for messages.
        load: A `penstock.runtime.answering.Load` as JSON objects.
        folder: What it may read: the package.
        python: Its environment's interpreter; None for this one.
        load_s: How long loading may take.
        golden: Examples that a process has to answer right before it is asked for anything else.
        package: What has to lie in the folder each time a process loads from there; None where nobody verified it.
    """

    name: str
    load: object
    folder: Path
    python: Path | None
    limits: Quota
    load_s: float
    golden: Golden | None = None
    package: Package | None = None


def start(recipe: Recipe) -> SandboxedModel:
    """Start a process, have it load the model, and see it answer its golden examples.

    Args:
        recipe: How.

    Raises:
        ModelFailed: The model cannot be loaded, answers something else, or its files were changed meanwhile.
        NotReady: It takes more memory than there is.
        BadConfig: This machine has too few walls.
    """
    verified = _verified(recipe)
    scratch = TemporaryDirectory(prefix="penstock-")
    try:
        confined = start_worker(
            _ENTRY,
            recipe.load,
            read=[recipe.folder],
            scratch=Path(scratch.name),
            python=recipe.python,
            limits=recipe.limits,
        )
    except PenstockError:
        scratch.cleanup()
        raise
    worker = SandboxedModel(confined, scratch)
    try:
        _wait_until_loaded(worker, recipe)
        prove(worker, recipe, recipe.load_s)
        # The process read its files by their paths: what was verified before must still lie there after.
        _require_unchanged(verified, recipe)
    except (OSError, EOFError, ValueError):
        ended = worker.end()
        code = KILLED if worker.killed else "runtime.load_failed"
        raise ModelFailed(f"{recipe.name} died while it was loaded: {ended.message}", ended.hint, code=code) from None
    except BaseException:
        worker.end()
        raise
    return worker


def _verified(recipe: Recipe) -> Package | None:
    """The package, verified again where something in its folder moved since."""
    try:
        return recipe.package.verified_again() if recipe.package is not None else None
    except Untrusted as error:
        raise _tampered(recipe, error) from error


def _require_unchanged(verified: Package | None, recipe: Recipe) -> None:
    try:
        if verified is not None:
            verified.require_unchanged()
    except Untrusted as error:
        raise _tampered(recipe, error) from error


def _tampered(recipe: Recipe, error: Untrusted) -> ModelFailed:
    return ModelFailed(f"{recipe.name}: {error}", "put the package back as it was", code=error.code)


def _wait_until_loaded(worker: SandboxedModel, recipe: Recipe) -> None:
    """Wait for its first frame, and watch how much it takes meanwhile."""
    end = time.monotonic() + recipe.load_s
    free = available_bytes()
    while True:
        try:
            header, _ = worker.receive(min(end, time.monotonic() + _WATCH_S))
            break
        except TimeoutError:
            require(worker.resident_bytes(), recipe.name, known=False, available=free)
            if time.monotonic() >= end:
                raise ModelFailed(
                    f"{recipe.name} took longer than {recipe.load_s:g} s to load", code="runtime.load_failed"
                ) from None
    if header.failed or header.refused:
        why = f"{header.failed or header.refused}: {header.message}"
        raise ModelFailed(
            f"{recipe.name} cannot be loaded: {why}",
            "its environment may lack a package, or have another version",
            code="runtime.load_failed",
        )


def prove(worker: SandboxedModel, recipe: Recipe, limit_s: float) -> None:
    """Have it answer the golden examples.

    Args:
        worker: Who.
        recipe: Whose examples.
        limit_s: How long it may take to be told, and how long to answer.

    Raises:
        ModelFailed: It answers something else.
        OSError: It is gone; EOFError and ValueError say the same.
    """
    if recipe.golden is None:
        return
    worker.most = _GOLDEN_BYTES
    worker.send(pack(Header(), recipe.golden.inputs), limit_s)
    try:
        header, outputs = worker.receive(time.monotonic() + limit_s)
    except TimeoutError:
        raise EOFError from None
    difference = header.failed or check_golden(recipe.golden, outputs)
    if difference:
        raise ModelFailed(
            f"{recipe.name} does not answer its golden examples: {difference}",
            "package the model again on this platform, or report a difference between machines",
            code="runtime.wrong_answer",
        )
