"""What a model really imports: a fresh sandboxed process loads it as serving does, answers, and lists what came in.

Comes in: a `Traced` as JSON. Goes out: names of top-level packages, the standard library's and the model's own left
out. The process also shows that the examples' answers do not hang on the process that gave them, and that the lock has
all that the model imports: it runs in the lock's own environment, or what is installed beside the lock is hidden.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import msgspec

from penstock.errors import BadConfig, ModelFailed
from penstock.packages.golden import Golden, check_golden, decode_golden
from penstock.runtime.interview import lacking
from penstock.runtime.original import answer
from penstock.runtime.transformed import load_transformed
from penstock.tensors import Signature


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """What to load and ask.

    Attributes:
        entry: The original's file, in the folder of its own files.
        kind: A name of the adapters' ``format`` table.
        signature: Of the package.
        golden: Path of its examples.
        barred: Top-level modules that are as if they were not installed.
        transforms: Path of the steps around it; empty for none.
    """

    entry: str
    kind: str
    signature: Signature
    golden: str
    barred: tuple[str, ...] = ()
    transforms: str = ""


class OnlyTheLock(MetaPathFinder):
    """Hides what is installed and not locked."""

    def __init__(self, barred: Sequence[str]) -> None:
        self._barred = frozenset(barred)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, so that others are asked, or the error of a module that is not there."""
        del path, target
        if fullname.partition(".")[0] in self._barred:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def trace(arguments: object, scratch: object) -> list[str]:
    """The sandbox's entry.

    Raises:
        BadConfig: It imports what its lock does not have.
        ModelFailed: It answers an example otherwise than it did before.
    """
    del scratch
    task = msgspec.convert(arguments, Traced)
    sys.meta_path.insert(0, OnlyTheLock(task.barred))
    before = set(sys.modules)
    entry = Path(task.entry)
    golden = decode_golden(Path(task.golden).read_bytes(), task.signature)
    wrong = _difference(entry, task, golden)
    if wrong:
        raise ModelFailed(
            f"asked again in another process, the model answers otherwise: {wrong}",
            "take chance, the clock and hash order out of it",
            code="build.unsteady",
        )
    new = {name.partition(".")[0] for name in sys.modules.keys() - before}
    own = {path.name.removesuffix(".py") for path in entry.parent.iterdir()}
    return sorted(new - own - set(sys.stdlib_module_names) - {"penstock"})


def _difference(entry: Path, task: Traced, golden: Golden) -> str:
    """Which example it answers otherwise; empty where none is."""
    try:
        model = load_transformed(entry, task.kind, task.transforms)
        return check_golden(golden, answer(model, task.signature.inputs, golden.inputs))
    except ModuleNotFoundError as error:
        raise lacking(error) from error
    except BadConfig as error:
        if isinstance(error.__cause__, ModuleNotFoundError):  # as a class of somebody's is told
            raise lacking(error.__cause__) from error
        raise
