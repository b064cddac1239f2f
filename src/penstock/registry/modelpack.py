"""A package as an OCI artifact, in the shape of the CNCF's ModelPack: one raw layer a file, so nothing is repacked.

    package -> pack -> manifest, configuration, layers          manifest's bytes -> unpack -> layers with checked names

The same version gives the same bytes, so pushing it twice is pushing it once. A layer's media type says what a file is
for; only its path and digest are believed. Source: ModelPack model-spec v1, OCI image-spec 1.1.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated, NamedTuple

import msgspec

from penstock.errors import InvalidInput, Untrusted
from penstock.packages.digests import named
from penstock.packages.manifest import MANIFEST, SIGNATURE
from penstock.packages.read import Package
from penstock.packages.tree import check_name, scan, sha256_of
from penstock.registry.oci import MANIFEST_TYPE, MAX_MANIFEST_BYTES

ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
WEIGHT, SETTING, CODE, DOCUMENT = (
    f"application/vnd.cncf.model.{kind}.v1.raw" for kind in ("weight", "weight.config", "code", "doc")
)
PATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"
PACKAGE_DIGEST = "penstock.package.digest"
MAX_LAYERS = 4096
MAX_BYTES = 64 << 30
MAX_CONFIG_BYTES = 1 << 20
_KINDS = {".py": CODE, ".md": DOCUMENT, ".html": DOCUMENT, ".json": SETTING, ".txt": SETTING, ".lock": SETTING}
_RAW = re.compile(r"application/vnd\.cncf\.model\.[a-z.]+\.v1\.raw\Z")
_FETCH = "it is no package of Penstock's, or was changed; do not use it"

Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A blob as a manifest names it; `size` in bytes."""

    media_type: str
    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
    annotations: dict[str, str] = {}


class OciManifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The artifact."""

    schema_version: int
    media_type: str
    artifact_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] = {}


class Layer(NamedTuple):
    """One file of the package; `size` in bytes."""

    name: str
    digest: str
    size: int
    media_type: str


class ModelPack(NamedTuple):
    """An artifact.

    Attributes:
        manifest: Its bytes.
        digest: Theirs, ``sha256:<hex>``: the artifact's name.
        config: The configuration's bytes; empty for one that was only unpacked.
        config_digest: Theirs.
        config_size: Their number.
        package: The package's digest, as the artifact claims it; empty where it does not.
    """

    manifest: bytes
    digest: str
    config: bytes
    config_digest: str
    config_size: int
    layers: tuple[Layer, ...]
    package: str

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(layer.size for layer in self.layers)


def pack(package: Package, version: int) -> ModelPack:
    """The artifact of a package.

    Args:
        package: Verified.
        version: Its number in the registry.

    Raises:
        InvalidInput: It has more files than an artifact may have.
    """
    manifest, folder = package.manifest, package.folder
    sizes = scan(folder)
    digests = {name: one.sha256 for name, one in manifest.files.items()}
    digests |= {name: sha256_of(folder, name) for name in (MANIFEST, SIGNATURE)}
    layers = tuple(Layer(name, named(digests[name]), sizes[name], _kind(package, name)) for name in sorted(digests))
    config = msgspec.json.encode(_config(package, version, layers), order="deterministic")
    about = {
        TITLE: manifest.name,
        "org.opencontainers.image.version": str(version),
        "org.opencontainers.image.created": _moment(manifest.created_at),
        PACKAGE_DIGEST: package.digest,
    }
    whole = OciManifest(
        schema_version=2,
        media_type=MANIFEST_TYPE,
        artifact_type=ARTIFACT_TYPE,
        config=Descriptor(media_type=CONFIG_TYPE, digest=_digest(config), size=len(config)),
        layers=tuple(
            Descriptor(
                media_type=one.media_type,
                digest=one.digest,
                size=one.size,
                annotations={PATH: one.name, TITLE: one.name},
            )
            for one in layers
        ),
        annotations=about,
    )
    data = msgspec.json.encode(whole)
    if len(layers) > MAX_LAYERS or len(data) > MAX_MANIFEST_BYTES or sum(one.size for one in layers) > MAX_BYTES:
        raise InvalidInput(
            "the package is too large for an artifact", f"at most {MAX_LAYERS} files, {MAX_BYTES >> 30} GiB"
        )
    return ModelPack(data, _digest(data), config, _digest(config), len(config), layers, package.digest)


def unpack(data: bytes) -> ModelPack:
    """What a manifest's bytes say, held to what a package may be; nothing else is fetched of one that does not hold.

    Raises:
        Untrusted: It is another kind of artifact, too large, or a name leads out of the package's folder.
    """
    try:
        found = msgspec.json.decode(data, type=OciManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal("is no model's manifest") from error
    kinds = (found.schema_version, found.media_type, found.artifact_type, found.config.media_type)
    if kinds != (2, MANIFEST_TYPE, ARTIFACT_TYPE, CONFIG_TYPE):
        raise _refusal("is another kind of artifact")
    if len(found.layers) > MAX_LAYERS:
        raise _refusal(f"has more than {MAX_LAYERS} files")
    if sum(one.size for one in found.layers) > MAX_BYTES or found.config.size > MAX_CONFIG_BYTES:
        raise _refusal(f"is larger than {MAX_BYTES >> 30} GiB")
    layers = tuple(_layer(one) for one in found.layers)
    _check_paths([one.name for one in layers])
    return ModelPack(
        data,
        _digest(data),
        b"",
        found.config.digest,
        found.config.size,
        layers,
        found.annotations.get(PACKAGE_DIGEST, ""),
    )


def _layer(found: Descriptor) -> Layer:
    if not _RAW.match(found.media_type):
        raise _refusal("has a layer that is not one file as it is")
    return Layer(check_name(found.annotations.get(PATH, "")), found.digest, found.size, found.media_type)


def _check_paths(names: list[str]) -> None:
    """Each file once, none inside another, and those there without which it is no package."""
    folded = {name.casefold() for name in names}
    if len(folded) != len(names):
        raise _refusal("names a file twice")
    if any(parent.as_posix() in folded for name in folded for parent in PurePosixPath(name).parents):
        raise _refusal("names a file as a folder, too")
    if MANIFEST not in names:
        raise _refusal("holds no package of Penstock's")
    if SIGNATURE not in names:
        raise Untrusted(
            "the package is not signed", "have it pushed from the home that built it: that signs", where=SIGNATURE
        )


def _kind(package: Package, name: str) -> str:
    if name == package.manifest.entry:
        return WEIGHT
    return _KINDS.get(PurePosixPath(name).suffix, WEIGHT)


def _config(package: Package, version: int, layers: tuple[Layer, ...]) -> dict[str, object]:
    """What ModelPack wants to know of a model; a file that is no archive is its own difference."""
    manifest = package.manifest
    entry = PurePosixPath(manifest.entry).suffix.removeprefix(".")
    return {
        "descriptor": {
            "createdAt": _moment(manifest.created_at),
            "name": manifest.name,
            "version": str(version),
            "revision": package.digest,
        },
        "modelfs": {"type": "layers", "diffIds": [one.digest for one in layers]},
        "config": {"format": entry or manifest.engine},
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _digest(data: bytes) -> str:
    return named(hashlib.sha256(data).hexdigest())


def _refusal(what: str) -> Untrusted:
    return Untrusted(f"the artifact {what}", _FETCH, where="manifest", code="oci.artifact")
