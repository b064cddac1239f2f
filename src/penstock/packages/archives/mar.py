"""TorchServe's archives: a ``.mar`` that anybody may have made becomes a package folder, and nothing of it is run.

    archive --strict zip--> folder --its manifest--> checked --> package: manifest.json, golden.json, model/

The package's engine is the sandboxed ``python`` one: the handler's code runs behind its walls only. Its signature is
one body in, one body out, as text (`penstock.runtime.bodies`); an archive has no golden examples.
Source: TorchServe 0.12, ``model-archiver/README.md``.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import numpy as np

from penstock.errors import BadConfig, Untrusted
from penstock.packages.archive import Caps, MadePackage, unpack
from penstock.packages.digests import named, sha256_bytes
from penstock.packages.golden import GOLDEN, Golden, encode_golden
from penstock.packages.handled import BODY, HANDLED
from penstock.packages.manifest import FORMAT, MANIFEST
from penstock.packages.tree import check_name, read_bytes, scan, sha256_of
from penstock.records import FileEntry, Manifest, encode

KIND = "mar"
MAR_MANIFEST = "MAR-INF/MANIFEST.json"
MAR_CAPS = Caps(files=4096, total_bytes=8 << 30, ratio=200)
MOST_MANIFEST_BYTES = 1 << 20
LOCK = "requirements.lock"
_MODEL = "model"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,119}\.py(?::[A-Za-z_][A-Za-z0-9_]{0,119})?")
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,119}(?::[A-Za-z_][A-Za-z0-9_]{0,119})?")


class MarModel(msgspec.Struct, frozen=True, rename="camel"):
    """What an archive says of its model.

    Attributes:
        handler: File, file:function, or the name of one of TorchServe's own.
        serialized_file: The weights, as the handler finds them.
        requirements_file: pip requirements.
        config_file: YAML that the handler is given.
    """

    model_name: str
    handler: str
    model_version: str = "1.0"
    serialized_file: str = ""
    model_file: str = ""
    requirements_file: str = ""
    config_file: str = ""

    @property
    def number(self) -> int:
        """Of the version: the whole part of ``2.0``; 1 where it has none."""
        found = re.match(r"0*([1-9][0-9]{0,8})(?![0-9])", self.model_version)
        return int(found[1]) if found else 1


class _MarManifest(msgspec.Struct, frozen=True, rename="camel"):
    model: MarModel
    runtime: str = "python"


class MarArchive:
    """What the adapters' ``archive`` table names."""

    def named(self, archive: Path) -> tuple[str, int]:
        """Name and version, as the archive says; errors as `read_mar`."""
        model = read_mar(archive)
        return model.model_name, model.number

    def make(self, archive: Path, store: Path) -> MadePackage:
        """A package; errors as `import_mar`."""
        return import_mar(archive, store)


def read_mar(archive: Path) -> MarModel:
    """What an archive says of itself, without unpacking it.

    Raises:
        Untrusted: It is no zip, or its manifest is none.
    """
    try:
        with zipfile.ZipFile(archive) as file, file.open(MAR_MANIFEST) as member:
            return _parsed(member.read(MOST_MANIFEST_BYTES + 1))
    except KeyError:
        raise _no_manifest() from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise Untrusted(
            "the archive is no zip", "make it with torch-model-archiver --archive-format default"
        ) from error


def import_mar(archive: Path, store: Path) -> MadePackage:
    """Make a package of an archive; the same archive gives the same package.

    Args:
        archive: As ``torch-model-archiver`` makes it.
        store: Folder of packages by digest.

    Raises:
        Untrusted: The archive holds anything but plain files under plain names, is too big, or contradicts itself.
        BadConfig: It needs what is not here: a handler of TorchServe's own, requirements without versions.
    """
    store.mkdir(parents=True, exist_ok=True)
    fresh = Path(mkdtemp(prefix=".importing-", dir=store))
    try:
        unpack(archive, fresh / _MODEL, caps=MAR_CAPS)
        model = _checked(fresh / _MODEL)
        manifest = _package(fresh, model)
        data = encode(manifest)
        (fresh / MANIFEST).write_bytes(data)
        digest = named(sha256_bytes(data))
        place = store / digest.partition(":")[2]
        if not place.exists():
            fresh.chmod(0o755)
            fresh.rename(place)
        return MadePackage(place, digest, manifest)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _parsed(data: bytes) -> MarModel:
    try:
        found = msgspec.json.decode(data, type=_MarManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _no_manifest() from None
    if len(data) > MOST_MANIFEST_BYTES or not _NAME.fullmatch(found.model.model_name):
        raise _no_manifest()
    if found.runtime.lower() not in ("python", "python3"):
        raise BadConfig("the archive's runtime is not python", "only handlers in Python are run", code="packages.mar")
    return found.model


def _checked(folder: Path) -> MarModel:
    """The manifest of an unpacked archive, whose files are all there."""
    names = scan(folder)
    if MAR_MANIFEST not in names:
        raise _no_manifest()
    model = _parsed(read_bytes(folder, MAR_MANIFEST, limit=MOST_MANIFEST_BYTES))
    handler = model.handler.rpartition("/")[2]
    if not (_MODULE.fullmatch(handler) or _BARE.fullmatch(handler)):
        raise Untrusted("the archive's handler is no name of a module", "make the archive anew", where=MAR_MANIFEST)
    file = handler.partition(":")[0].removesuffix(".py") + ".py"
    if file not in names:
        raise BadConfig(
            "the archive holds no file of its handler",
            "TorchServe's own handlers are not here: put the handler's file into the archive",
            code="packages.mar",
        )
    for name in (model.serialized_file, model.model_file, model.requirements_file, model.config_file):
        # The archiver writes where a file lay and puts it at the root.
        if name and check_name(name.rpartition("/")[2]) not in names:
            raise Untrusted("the archive lacks a file that its manifest names", "make it anew", where=MAR_MANIFEST)
    return model


def _package(folder: Path, model: MarModel) -> Manifest:
    """Everything of a package but its manifest is there afterwards."""
    nothing = np.empty(0, object)
    (folder / GOLDEN).write_bytes(encode_golden(Golden(inputs={BODY: nothing}, outputs={BODY: nothing})))
    if model.requirements_file:
        requirements = f"{_MODEL}/{model.requirements_file.rpartition('/')[2]}"
        (folder / LOCK).write_bytes(read_bytes(folder, requirements, limit=MOST_MANIFEST_BYTES))
    return Manifest(
        format=FORMAT,
        name=model.model_name,
        kind=KIND,
        engine="python",
        entry=f"{_MODEL}/{MAR_MANIFEST}",
        task="regression",
        signature=HANDLED,
        files={name: FileEntry(sha256=sha256_of(folder, name), size=size) for name, size in scan(folder).items()},
        parameters={"modelVersion": model.model_version},
    )


def _no_manifest() -> Untrusted:
    return Untrusted(
        "the archive has no manifest that can be read", "make it with torch-model-archiver", where=MAR_MANIFEST
    )
