"""The manifest: what a package says of itself, and the number of the form in which it says so.

What comes in: the bytes of ``manifest.json``. What goes out: a `Manifest` whose every claim has the right
form. Whether the claims are true of the files is `penstock.packages.read`'s question.

The numbers of a large graph lie in files beside its entry, listed as every file is; a version that does not know them
refuses such a graph when it opens it (``runtime.external_data``), so that it needed no new format.

When to bump `FORMAT`, and how. A new optional field with a default needs no bump: old readers ignore it.
A field that changes meaning, goes away, or moves to another file does:

1. Build small packages with the version in use today, by ``tests/golden/make_package.py`` and ``make_sandboxed.py``.
2. Raise `FORMAT` by one and add the old number to `READABLE` with what `read_manifest` must do to lift it.
3. Lift it in `parse_manifest`: raw bytes of the old form to today's `Manifest`; the digest stays that of the old bytes.
4. `tests/packages/test_golden_packages.py` finds the new golden folders by itself: old packages still open and
   still answer the same.
5. Say in CHANGELOG.md which Penstock reads which format.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import msgspec

from penstock.errors import Corrupt, Untrusted
from penstock.packages.tree import check_name, read_bytes
from penstock.packages.typed import require_header, require_typed
from penstock.records import Manifest, decode

FORMAT = 1
READABLE = frozenset({1})
MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
MAX_MANIFEST_BYTES = 4 << 20
HEAD_OF_NUMBERS = b"penstock: numbers of a graph\n\0"
"""What a file of them begins with, so that it is not taken for a pickle or a program whose first bytes it has."""
_NUMBERS = re.compile(r"model(\.[0-9]{1,3})?\.data")


class _Numbered(msgspec.Struct):
    """The one field that is read before the form is known."""

    format: int = 0


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a package's folder; the other files are not looked at.

    Raises:
        Untrusted: It is missing, no regular file, too long, or of another form.
    """
    return parse_manifest(read_bytes(folder, MANIFEST, limit=MAX_MANIFEST_BYTES))


def parse_manifest(data: bytes) -> Manifest:
    """A manifest from its bytes.

    Raises:
        Untrusted: The bytes are no manifest of a format that this version reads, or they name a file by a
            path that is not canonical.
    """
    try:
        number = msgspec.json.decode(data, type=_Numbered).format
        if number not in READABLE:
            raise Untrusted(
                f"{MANIFEST} has format {number} and this version reads {', '.join(map(str, sorted(READABLE)))}",
                "install a newer penstock, or package the model again",
                where=MANIFEST,
            )
        manifest = decode(data, Manifest)
    except (Corrupt, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Untrusted(f"{MANIFEST} is damaged: {error}", "fetch the package again", where=MANIFEST) from error
    require_header(manifest, MANIFEST)
    require_typed(manifest.signature, MANIFEST)
    for name in (*manifest.files, manifest.entry):
        check_name(name)
    if manifest.entry not in manifest.files:
        raise Untrusted("the manifest's entry is none of its files", "package the model again", where=MANIFEST)
    if {MANIFEST, SIGNATURE} & set(manifest.files):
        raise Untrusted("the manifest lists itself or the signature", "package the model again", where=MANIFEST)
    return manifest


def is_numbers(name: str) -> bool:
    """Whether a file beside a graph is called as one that holds its numbers."""
    return _NUMBERS.fullmatch(name) is not None


def numbers_beside(manifest: Manifest) -> dict[str, int]:
    """The files beside the package's graph that hold its numbers: bare names, and sizes in bytes."""
    folder = PurePosixPath(manifest.entry).parent
    return {
        PurePosixPath(name).name: entry.size
        for name, entry in manifest.files.items()
        if PurePosixPath(name).parent == folder and is_numbers(PurePosixPath(name).name)
    }


def model_bytes(manifest: Manifest) -> int:
    """How long what its engine opens is: the entry, and numbers beside it."""
    return manifest.files[manifest.entry].size + sum(numbers_beside(manifest).values())
