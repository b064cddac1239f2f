"""Write a version of a model as a folder that somebody else's platform deploys.

name@3 --registry--> package (verified from its bytes) --export--> files -> a folder, complete or not there at all
"""

from __future__ import annotations

import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
from packaging.requirements import Requirement

from penstock.adapters import TABLE, load
from penstock.app.app import App
from penstock.errors import BadConfig, Conflict
from penstock.packages.publickey import PUBLIC
from penstock.packages.read import Package
from penstock.registry.trust import signer_of
from penstock.release.export import ExportSource, PackageExport
from penstock.serve.openapi import swagger

_CODE_FREE = "onnxruntime"
KINDS = tuple(TABLE["export"])


class Exported(NamedTuple):
    """What was written.

    Attributes:
        files: Paths in the folder, the package's own left out.
    """

    ref: str
    kind: str
    digest: str
    folder: Path
    files: tuple[str, ...]


def export_version(app: App, ref: str, kind: str, folder: Path, *, dry_run: bool = False) -> Exported:
    """Write a version's folder.

    Args:
        app: Who asks, where.
        ref: ``name@3``, ``name@champion`` or ``name``.
        kind: A name of the adapters' ``export`` table.
        folder: To be made.
        dry_run: Look at everything and write nothing.

    Raises:
        NotFound: There is no such version or kind.
        BadConfig: The package carries code, which none of these platforms has walls for.
        Conflict: The folder is there already, and not empty.
        Untrusted: The package is not as it was registered and signed.
    """
    exporter = cast("PackageExport", load("export", kind)())
    found = app.resolve(ref)
    package = app.open_package(found.version.digest)
    if package.manifest.engine != _CODE_FREE:
        raise BadConfig(
            "the package carries code, and a function has no sandbox to run it in",
            "package a model that compiles, or serve this one with penstock serve",
            code="release.code_in_export",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict("the folder is there already", "name one that is new or empty", where=str(folder))
    source = _source(package, found.version.version)
    files = dict(exporter.files(source))
    place = Path(exporter.package)
    files[(place.parent / PUBLIC).as_posix()] = signer_of(package, app.state()).pem.decode()
    if not dry_run:
        _write(folder, files, package, exporter.package)
    return Exported(found.version.ref, kind, package.digest, folder, tuple(sorted(files)))


def _source(package: Package, version: int) -> ExportSource:
    manifest = package.manifest
    return ExportSource(
        model=manifest.name,
        version=version,
        digest=package.digest,
        requirements=_pins(),
        documents={
            one: msgspec.json.format(msgspec.json.encode(swagger(manifest.signature, manifest.name, one))).decode()
            for one in ("2", "3")
        },
    )


def _pins() -> tuple[str, ...]:
    """Penstock, and what its data plane needs in the versions that are installed here: the model was proven on them."""
    pins = [f"penstock=={metadata.version('penstock')}"]
    for line in metadata.requires("penstock") or ():
        needed = Requirement(line)
        if needed.marker is None or "extra" not in str(needed.marker):
            pins.append(f"{needed.name}=={metadata.version(needed.name)}")
    return tuple(pins)


def _write(folder: Path, files: dict[str, str], package: Package, place: str) -> None:
    """All of it beside the folder first; platforms read as another user than the one who wrote."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        whole = Path(scratch) / "whole"
        shutil.copytree(package.folder, whole / place)
        for name, text in files.items():
            path = whole / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for path in (whole, *whole.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if folder.exists():
            folder.rmdir()
        whole.rename(folder)
