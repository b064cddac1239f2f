"""What a model really imports: a fresh sandboxed process loads it as serving does, answers, and lists what came in.

Comes in: a `Traced` as JSON. Goes out: names of top-level packages, the standard library's and the model's own left
out. The process also shows that the examples' answers do not hang on the process that gave them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from penstock.errors import ModelFailed
from penstock.packages.golden import check_golden, decode_golden
from penstock.runtime.original import answer, load_original
from penstock.tensors import Signature


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """What to load and ask.

    Attributes:
        entry: The original's file, in the folder of its own files.
        kind: A name of the adapters' ``format`` table.
        signature: Of the package.
        golden: Path of its examples.
    """

    entry: str
    kind: str
    signature: Signature
    golden: str


def trace(arguments: object, scratch: object) -> list[str]:
    """The sandbox's entry.

    Raises:
        ModelFailed: It answers an example otherwise than it did before.
    """
    del scratch
    task = msgspec.convert(arguments, Traced)
    before = set(sys.modules)
    entry = Path(task.entry)
    golden = decode_golden(Path(task.golden).read_bytes(), task.signature)
    model = load_original(entry, task.kind)
    wrong = check_golden(golden, answer(model, task.signature.inputs, golden.inputs))
    if wrong:
        raise ModelFailed(
            f"asked again in another process, the model answers otherwise: {wrong}",
            "take chance, the clock and hash order out of it",
            code="build.unsteady",
        )
    new = {name.partition(".")[0] for name in sys.modules.keys() - before}
    own = {path.name.removesuffix(".py") for path in entry.parent.iterdir()}
    return sorted(new - own - set(sys.stdlib_module_names) - {"penstock"})
