"""The pickles inside of PyTorch's zips: read as their loader does, with inert stand-ins, held to tensors' own names.

What comes in: one pickle's bytes. What goes out: names that are none of the few that tensors and TorchScript's objects
are made of. Numbers lie in members beside the pickle; it refers to them in the one form in which PyTorch does.
"""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

from penstock.build.pickles.inert import Inert, InertReader
from penstock.build.torch.archive import TorchArchive, odd, read_archive
from penstock.errors import Untrusted
from penstock.runtime.torchweights import SUFFIXES

TENSORS = frozenset(
    {
        "collections.OrderedDict", "torch.Size", "torch.device", "torch.storage.UntypedStorage",
        "torch._utils._rebuild_parameter", "torch._utils._rebuild_qtensor", "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2",
        "torch.serialization._get_layout", "torch.per_tensor_affine", "torch.per_channel_affine",
        "torch.nn.parameter.Parameter", "torch.Tensor", "torch._tensor._rebuild_from_type_v2",
    }
)  # fmt: skip
SCRIPTS = frozenset(
    {
        f"torch.jit._pickle.build_{kind}"
        for kind in ("boollist", "doublelist", "intlist", "tensorlist", "tensor_from_id")
    }
    | {"torch.jit._pickle.restore_type_tag"}
)
_DTYPE = re.compile(
    r"torch\.(bool|u?int(8|16|32|64)|q?u?int(8|32)|quint4x2|float(8_\w{1,16}|16|32|64)?|bfloat16|half|double|long"
    r"|complex(32|64|128))"
)
_STORAGE = re.compile(
    r"torch\.(Bool|Byte|Char|Short|Int|Long|Half|BFloat16|Float|Double|ComplexFloat|ComplexDouble|Q?U?Int8|QInt32)Storage"
)
_SCRIPT_CLASS = re.compile(r"__torch__(?!\.torch\.classes\.(?!quantized\.))(\.[A-Za-z_][A-Za-z0-9_$]*){1,40}")
"""Of the classes that are native code, those of quantized layers alone."""
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_PLACE = re.compile(r"cpu|(cuda|mps|meta|xpu)(:\d{1,3})?")
_TENSOR_FILES = re.compile(
    r"data\.pkl|data/\d{1,9}|version|byteorder|\.format_version|\.storage_alignment|\.data/(serialization_id|version)"
)


def audit_tensor_pickle(data: bytes, where: str = "", *, script: bool = False) -> frozenset[str]:
    """Names in a pickle that neither tensors nor, where it is one, a script's objects are made of.

    Raises:
        Untrusted: It cannot be read to its end, or goes on behind it.
    """
    seen: dict[str, None] = {}
    file = BytesIO(data)
    reader = _TensorReader(file, seen.setdefault)
    try:
        reader.load()
    except Untrusted as error:
        raise odd(error.message.removesuffix(", as no saved model does"), where) from error
    except Exception as error:
        raise odd(f"has a pickle that cannot be read to its end ({type(error).__name__})", where) from error
    if file.read(1):
        raise odd("has a pickle with something behind it", where)
    return frozenset(name for name in seen if not _known(name, script=script))


def audit_tensors(data: bytes, where: str = "") -> frozenset[str]:
    """The same of a file that `torch.save` wrote of tensors: a zip in the zip, or the weights of a folder.

    Raises:
        Untrusted: It is no such zip: older ones are pickles behind pickles, which nobody can audit.
    """
    archive = read_archive(BytesIO(data), len(data), lambda name: name == "data.pkl")
    return audit_tensor_archive(archive, where)


def require_tensors(folder: Path) -> None:
    """Of every file in a folder that ``torch.save`` wrote: it holds tensors alone.

    Raises:
        Untrusted: One holds more.
    """
    for path in sorted(one for one in folder.rglob("*") if one.suffix in SUFFIXES):
        with path.open("rb") as file:
            archive = read_archive(file, path.stat().st_size, lambda name: name == "data.pkl")
        strange = audit_tensor_archive(archive, path.name)
        if strange:
            raise odd(f"of weights would run {', '.join(sorted(strange)[:5])}", path.name)


def audit_tensor_archive(archive: TorchArchive, where: str = "") -> frozenset[str]:
    """The same of one that was read."""
    strange = [name for name in archive.sizes if not _TENSOR_FILES.fullmatch(name)]
    if strange or "data.pkl" not in archive.contents:
        raise odd("holds what is neither a pickle of tensors nor their numbers", (strange or [where])[0])
    return audit_tensor_pickle(archive.contents["data.pkl"], where)


def _known(name: str, *, script: bool) -> bool:
    if name in TENSORS or _DTYPE.fullmatch(name) or _STORAGE.fullmatch(name):
        return True
    return script and (name in SCRIPTS or _SCRIPT_CLASS.fullmatch(name) is not None)


class _TensorReader(InertReader):
    """Reads a stream whose numbers lie elsewhere."""

    def persistent_load(self, identity: object) -> object:
        """A stand-in for the numbers of a tensor."""
        if type(identity) is not tuple or len(identity) != 5:
            raise odd("has a pickle that refers to no tensor's numbers")
        what, kind, key, place, count = identity
        named = isinstance(kind, type) and issubclass(kind, Inert)
        plain = all(type(one) is str for one in (what, key, place)) and type(count) is int
        if not (
            named and plain and what == "storage" and count >= 0 and _KEY.fullmatch(key) and _PLACE.fullmatch(place)
        ):
            raise odd("has a pickle that refers to no tensor's numbers")
        return Inert()
