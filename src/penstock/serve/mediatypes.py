"""Stage 4, serve: media types: what a body is, and which of those that can be written a caller takes best.

Comes in: the values of ``Content-Type`` and ``Accept``. Goes out: a name and its parameters, or one of ours. Source:
RFC 9110, 8.3.1 and 12.5.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from penstock.errors import PenstockError

JSON, CSV, LINES, NPY, PARQUET = (
    "application/json",
    "text/csv",
    "application/jsonlines",
    "application/x-npy",
    "application/x-parquet",
)
_SAME = {
    "application/x-jsonlines": LINES,
    "application/jsonl": LINES,
    "application/x-ndjson": LINES,
    "application/npy": NPY,
    "application/vnd.apache.parquet": PARQUET,
    "application/parquet": PARQUET,
    "application/csv": CSV,
}


class MediaType(NamedTuple):
    """A type with its parameters, names in lower case."""

    name: str
    parameters: Mapping[str, str]


def media_type(value: bytes, usual: str = JSON) -> MediaType:
    """What a ``Content-Type`` says; `usual` where it says nothing."""
    name, *rest = value.decode("latin-1").split(";")
    name = name.strip().lower() or usual
    pairs = (part.partition("=") for part in rest)
    parameters = {key.strip().lower(): text.strip().strip('"') for key, _, text in pairs if key.strip()}
    return MediaType(_SAME.get(name, name), parameters)


def accepted(value: bytes, offered: Sequence[str], usual: str = JSON) -> str:
    """Which of the types on offer a caller takes best.

    Args:
        value: Of ``Accept``; empty takes anything.
        offered: Those that can be written, the one that is liked best first.
        usual: What anything means.

    Raises:
        PenstockError: None of them; code ``serve.not_acceptable``.
    """
    ranges = [media_type(part.encode("latin-1"), "*/*") for part in value.decode("latin-1").split(",")]
    weighed = sorted(ranges, key=lambda one: -_weight(one))
    for one in weighed:
        if _weight(one) <= 0:
            continue
        if one.name in ("*/*", "*"):
            return usual
        found = [name for name in offered if name == one.name or one.name == f"{name.partition('/')[0]}/*"]
        if found:
            return usual if usual in found else found[0]
    raise PenstockError(
        "no answer can be written that the caller accepts",
        f"accept one of {', '.join(offered)}",
        code="serve.not_acceptable",
        where="headers.accept",
    )


def unsupported(taken: Sequence[str]) -> PenstockError:
    """The refusal of a body of another type: 415."""
    return PenstockError(
        "bodies of this type are not read here",
        f"send one of {', '.join(taken)}",
        code="serve.media_type",
        where="headers.content-type",
    )


def _weight(one: MediaType) -> float:
    try:
        return float(one.parameters.get("q", "1"))
    except ValueError:
        return 0.0
