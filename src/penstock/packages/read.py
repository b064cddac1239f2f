"""Open a package: the one place where a package's folder becomes something to trust.

    folder -> names and sizes -> manifest (digest) -> signature -> every file's SHA-256 -> Package

What comes in: a folder. What goes out: a `Package` whose every byte is what its manifest says, and whose
manifest is what the caller asked for or what a trusted key signed. Nothing in it has been executed or parsed
beyond JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set
from pathlib import Path, PurePosixPath

import msgspec

from penstock.errors import NotFound, Untrusted
from penstock.packages.digests import CHUNK_BYTES, hex_of, named, sha256_bytes
from penstock.packages.golden import GOLDEN, Golden, decode_golden
from penstock.packages.manifest import MANIFEST, MAX_MANIFEST_BYTES, SIGNATURE, parse_manifest
from penstock.packages.publickey import VerifyingKey
from penstock.packages.signature import MAX_SIGNATURE_BYTES, signed_digests
from penstock.packages.tree import Stamps, open_file, read_bytes, scan, sha256_of, stamps
from penstock.records import Manifest

MAX_GOLDEN_BYTES = 64 << 20
CHANGED = "packages.changed"


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """An opened package: verified once, immutable since.

    Attributes:
        folder: Where it lies.
        manifest: What it says of itself.
        digest: ``sha256:<hex>`` of the manifest's bytes: the package's name.
        stamps: Of the folder, from before it was verified; whoever reads a file by its path looks at them afterwards.
            None of a draft that nobody verified.
    """

    folder: Path
    manifest: Manifest
    digest: str
    stamps: Stamps | None = None

    def path(self, name: str) -> Path:
        """Where one of its files lies.

        Raises:
            NotFound: The manifest lists no such file.
        """
        if name not in self.manifest.files:
            raise NotFound(f"the package holds no {name}", "its manifest lists what it holds", code="packages.no_file")
        return self.folder / name

    def read(self, name: str) -> bytes:
        """The bytes of one of its files: read once, and those that its manifest names whatever lies there by now.

        Raises:
            NotFound: The manifest lists no such file.
            Untrusted: The file was changed after the package was verified.
        """
        self.path(name)
        entry = self.manifest.files[name]
        data = read_bytes(self.folder, name, limit=entry.size)
        if sha256_bytes(data) != entry.sha256:
            raise _changed(name)
        return data

    def copy(self, name: str, place: Path) -> None:
        """Copy one of its files: read once, and what was written is what its manifest names whatever lies there by now.

        Args:
            name: The file's.
            place: Where there is nothing yet.

        Raises:
            NotFound: The manifest lists no such file.
            Untrusted: The file was changed after the package was verified.
            OSError: It cannot be written there.
        """
        self.path(name)
        entry, digest = self.manifest.files[name], hashlib.sha256()
        left = entry.size
        with open_file(self.folder, name) as source, place.open("xb") as copy:
            while left >= 0 and (chunk := source.read(CHUNK_BYTES)):
                digest.update(chunk)
                left -= copy.write(chunk)
        if digest.hexdigest() != entry.sha256:
            raise _changed(name)

    def require_unchanged(self) -> None:
        """See that what was read by path since the package was verified is what was verified.

        Raises:
            Untrusted: Something in the folder was written, replaced or renamed meanwhile.
        """
        if self.stamps is None:
            return
        now = stamps(self.folder)
        for name in sorted(now.keys() | self.stamps.keys()):
            if now.get(name) != self.stamps.get(name):
                raise _changed(name)

    def verified_again(self) -> Package:
        """The package as it lies there now: itself where nothing moved, else what `open_package` makes of it.

        Raises:
            Untrusted: It is another one by now.
        """
        if self.stamps is None or stamps(self.folder) == self.stamps:
            return self
        return open_package(self.folder, digest=self.digest)

    @property
    def entry(self) -> Path:
        """The file its engine opens."""
        return self.path(self.manifest.entry)

    def golden(self) -> Golden:
        """Its golden examples.

        Raises:
            NotFound: It has none.
            Corrupt: They do not fit its signature.
        """
        self.path(GOLDEN)
        if self.manifest.files[GOLDEN].size > MAX_GOLDEN_BYTES:
            raise Untrusted(f"the file is longer than {MAX_GOLDEN_BYTES} bytes", "it is not what it says", where=GOLDEN)
        return decode_golden(self.read(GOLDEN), self.manifest.signature)


def open_package(folder: Path, *, keys: Sequence[VerifyingKey] | None = None, digest: str | None = None) -> Package:
    """Verify a package's folder and open it.

    Args:
        folder: The package.
        keys: Whoever may have signed it; None takes an unsigned package, an empty sequence none at all.
        digest: The package that was asked for, ``sha256:<hex>``; None takes any.

    Raises:
        Untrusted: A file is missing, too many, changed, linked, or not signed by one of `keys`; `where` names it.
    """
    before = stamps(folder)
    sizes = scan(folder)
    if MANIFEST not in sizes:
        raise Untrusted("a file of the package is missing", "fetch the package again", where=MANIFEST)
    data = read_bytes(folder, MANIFEST, limit=MAX_MANIFEST_BYTES)
    found = sha256_bytes(data)
    if digest is not None and hex_of(digest) != found:
        raise Untrusted("the manifest is not that of the package asked for", "fetch the package again", where=MANIFEST)
    # The manifest is believed only after its signature: what it says of other files comes later.
    signed = None if keys is None else _signed(folder, keys)
    if signed is not None and signed.get(MANIFEST) != found:
        raise Untrusted("the manifest is not what was signed", "fetch the package again", where=MANIFEST)
    manifest = parse_manifest(data)
    _check_names(manifest, sizes)
    _check_folders(manifest, before.keys() - sizes.keys())
    if signed is not None:
        _check_signed(signed, {MANIFEST: found} | {name: one.sha256 for name, one in manifest.files.items()})
    _check_contents(folder, manifest)
    return Package(folder=folder, manifest=manifest, digest=named(found), stamps=before)


def _changed(name: str) -> Untrusted:
    return Untrusted("a file was changed after it was verified", "load it again", code=CHANGED, where=name)


def _signed(folder: Path, keys: Sequence[VerifyingKey]) -> dict[str, str]:
    """Hex digest by name, of what one of the keys signed."""
    return signed_digests(read_bytes(folder, SIGNATURE, limit=MAX_SIGNATURE_BYTES), keys)


def _check_names(manifest: Manifest, sizes: dict[str, int]) -> None:
    """Exactly the files of the manifest, in their sizes, before anything is read."""
    for name in sizes:
        if name not in manifest.files and name not in (MANIFEST, SIGNATURE):
            raise Untrusted("the package holds a file that its manifest does not list", "remove it", where=name)
    for name, entry in manifest.files.items():
        if name not in sizes:
            raise Untrusted("a file of the package is missing", "fetch the package again", where=name)
        if sizes[name] != entry.size:
            raise Untrusted("a file has another size than the manifest says", "fetch the package again", where=name)


def _check_folders(manifest: Manifest, folders: Set[str]) -> None:
    """No folder but those that its files need; an empty one is something that nobody signed."""
    needed = {str(parent) for name in manifest.files for parent in PurePosixPath(name).parents}
    for name in sorted(folders - {""} - needed):
        raise Untrusted("the package holds a folder that none of its files lies in", "remove it", where=name)


def _check_signed(signed: dict[str, str], digests: dict[str, str]) -> None:
    """The signature covers the manifest and each of its files, no more and no less."""
    for name in sorted(signed.keys() | digests.keys()):
        if signed.get(name) != digests.get(name):
            raise Untrusted("a file is not what was signed", "fetch the package again", where=name)


def _check_contents(folder: Path, manifest: Manifest) -> None:
    """Each file's bytes are those of the manifest."""
    for name, entry in manifest.files.items():
        if sha256_of(folder, name) != entry.sha256:
            raise Untrusted("a file's content is not what the manifest says", "fetch the package again", where=name)
