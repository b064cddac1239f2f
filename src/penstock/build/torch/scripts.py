"""What a TorchScript archive would do: its source is PyTorch's own small language, its objects are pickles of tensors.

The language knows no Python and no modules; of its operators two read and write files, and others come with libraries
that a package does not have. All of these are named.
"""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator
from io import BytesIO

from penstock.build.torch.archive import TorchArchive, odd
from penstock.build.torch.pickles import audit_tensor_pickle

_NEVER = frozenset({"save", "load", "from_file", "_from_file", "import_ir_module"})
_NAMESPACES = frozenset({"aten", "prim", "prims", "quantized", "_quantized"})
_MEMBERS = re.compile(
    r"code/__torch__(/[A-Za-z0-9_.$]+)*(\.py|\.py\.debug_pkl)|(data|constants|traced_inputs)(\.pkl|/\d{1,9})|version"
    r"|byteorder|\.data/(serialization_id|version)|extra/.+"
)
_SKIPPED = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
)


def wanted(name: str) -> bool:
    """Whether a member is read whole: all but numbers."""
    return name.endswith((".py", ".pkl", ".debug_pkl"))


def audit_script(archive: TorchArchive) -> frozenset[str]:
    """What of a script's archive is not on the lists.

    Raises:
        Untrusted: It has members that no script has, or cannot be understood.
    """
    strange: set[str] = set()
    for name in archive.sizes:
        if not _MEMBERS.fullmatch(name):
            raise odd("holds what no TorchScript has", name)
    for name, data in archive.contents.items():
        if name.startswith("extra/"):
            continue
        if name.endswith(".py"):
            strange |= set(_operators(data, name))
        else:
            strange |= audit_tensor_pickle(data, name, script=True)
    return frozenset(strange)


def _operators(source: bytes, where: str) -> Iterator[str]:
    """Operators of a source that are not the language's own, or that touch files."""
    try:
        found = [one for one in tokenize.tokenize(BytesIO(source).readline) if one.type not in _SKIPPED]
    except (tokenize.TokenError, SyntaxError, ValueError) as error:
        raise odd("has source that is none", where) from error
    words = [one.string for one in found]
    for at, word in enumerate(words[:-2]):
        after = words[at + 2] if words[at + 1] == "." else ""
        if (word in ("torch", "aten") and after in _NEVER) or (word == "ops" and after and after not in _NAMESPACES):
            yield f"{word}.{after}"
        if word == "classes" and after not in ("", "quantized") and at and words[at - 1] == ".":
            yield f"torch.classes.{after}"
