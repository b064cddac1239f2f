"""Is a signature one that arrays can have? Asked of whatever somebody else wrote, before anything is made by it.

What comes in: a manifest, or the signature of a sandbox's answer. What goes out: nothing, or a refusal.
"""

from __future__ import annotations

import re

from penstock.errors import Untrusted
from penstock.records import Manifest
from penstock.tensors import DTYPES, Signature, TensorSpec

MAX_TENSORS = 20_000
MAX_RANK = 16
MAX_LENGTH = 1 << 31
MAX_NAME = 2000
LAST_S = 1e11
"""Seconds since the epoch at which nothing was packaged yet: the year 5138, and the end of what calendars can say."""
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


def require_header(manifest: Manifest, where: str) -> None:
    """Hold what a manifest calls its model, format and engine to names that a message can show, its time to one.

    Raises:
        Untrusted: One is none.
    """
    shown = 0 < len(manifest.name) <= MAX_NAME and manifest.name.isprintable()
    if not shown or not _WORD.fullmatch(manifest.kind) or not _WORD.fullmatch(manifest.engine):
        raise Untrusted(
            "the manifest calls its model, format or engine by no name", "package the model again", where=where
        )
    if not 0 <= manifest.created_at < LAST_S:
        raise Untrusted("the manifest was made at no time", "package the model again", where=where)


def require_typed(signature: Signature, where: str = "") -> None:
    """Hold it to what the data plane counts on.

    Args:
        signature: Anybody's.
        where: The file that says it.

    Raises:
        Untrusted: It has no inputs or no outputs, one name twice, a type that there is not, or a shape of no array.
    """
    for specs in (signature.inputs, signature.outputs):
        names = {spec.name for spec in specs}
        if not 0 < len(specs) <= MAX_TENSORS or len(names) != len(specs) or not all(map(_is_array, specs)):
            raise Untrusted(
                "the signature is none that a model can have", "package the model again", where=where, code=CODE
            )


CODE = "packages.no_signature"


def _is_array(spec: TensorSpec) -> bool:
    shaped = 0 < len(spec.shape) <= MAX_RANK and all(-1 <= length <= MAX_LENGTH for length in spec.shape)
    return shaped and spec.datatype in DTYPES and 0 < len(spec.name) <= MAX_NAME
