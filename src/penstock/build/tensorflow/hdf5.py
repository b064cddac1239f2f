"""Is an HDF5 file of weights nothing but arrays of its own? Told from its structure; no array is read.

    file -> groups and arrays by hard links alone -> no other file, no foreign code, no array longer than its bytes

What comes in: a file that anybody may have made. What goes out: nothing, or a refusal that names the place. h5py reads
it, in the sandbox.
"""

from __future__ import annotations

import math
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from penstock.errors import BadConfig, Untrusted

MAX_OBJECTS = 200_000
MAX_RATIO = 1000
"""How many times smaller zlib makes zeros, about."""

_FILTERS = frozenset({1, 2, 3})
"""zlib, shuffle and checksum are HDF5's own; any other number makes it look for a library to load."""
_KINDS = "fiub"
_WORD = re.compile(r"[\w.-]{1,80}")


def require_plain(path: Path) -> None:
    """Hold a file of weights to what Keras writes.

    Raises:
        BadConfig: h5py is not here.
        Untrusted: It links to another file, keeps numbers in one, or cannot be read.
    """
    try:
        h5py: Any = import_module("h5py")
    except ModuleNotFoundError as error:
        raise BadConfig(
            "to look into Keras' weights h5py is needed, which is not installed", "pip install 'penstock[tensorflow]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            _walk(h5py, file, path.stat().st_size)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise _wrong("it is damaged", "weights") from error


def _walk(h5py: Any, file: Any, size: int) -> None:
    """Every object below the root, each reached by one hard link."""
    seen = {file.id.__hash__()}
    waiting = [("weights", file)]
    stored = 0
    while waiting:
        place, group = waiting.pop()
        for name in group:
            where = f"{place}/{name if _WORD.fullmatch(name) else '?'}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _wrong("it links to another place or another file", where)
            one = group[name]
            if hash(one.id) in seen or len(seen) > MAX_OBJECTS:
                raise _wrong("it holds one thing twice, or too many", where)
            seen.add(hash(one.id))
            if isinstance(one, h5py.Group):
                waiting.append((where, one))
            elif isinstance(one, h5py.Dataset):
                stored += _require_own(one, where)
            else:
                raise _wrong("it holds something else than arrays", where)
    if stored > size:
        raise _wrong("its arrays are longer than it is", "weights")


def _require_own(array: Any, where: str) -> int:
    """An array of numbers that lies in this file, whole; its bytes there."""
    settings = array.id.get_create_plist()
    if array.is_virtual or settings.get_external_count():
        raise _wrong("an array lies in another file", where)
    filters = {settings.get_filter(at)[0] for at in range(settings.get_nfilters())}
    if filters - _FILTERS:
        raise _wrong("an array is packed in a way that needs a library of its own", where)
    if array.dtype.kind not in _KINDS:
        raise _wrong("an array holds something else than numbers", where)
    stored = int(array.id.get_storage_size())
    declared = math.prod(array.shape or ()) * array.dtype.itemsize
    if declared > stored * (MAX_RATIO if filters else 1):
        raise _wrong("an array says that it is longer than its bytes", where)
    return stored


def _wrong(what: str, where: str) -> Untrusted:
    return Untrusted(f"the weights cannot be trusted: {what}", "save the model again with Keras", where=where)
