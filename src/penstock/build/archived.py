"""An archive that another server runs becomes a package as it is, registered like any other.

    archive --its reader--> package folder -> sandbox: its code is loaded once -> manifest of ours, bill of materials

What comes in: a copy of the archive. What goes out: the folder and its manifest, unsigned. What an archive answers is
known to its handler alone: bodies in, bodies out, no rows, no examples, nothing to compile.
"""

from __future__ import annotations

import shutil
import time
from importlib.metadata import version
from pathlib import Path

import msgspec

from penstock.adapters import load
from penstock.build.bom import add_bill
from penstock.build.proof import sandboxed
from penstock.build.request import BuildRequest
from penstock.errors import BadConfig, InvalidInput
from penstock.packages.archive import ArchiveType
from penstock.packages.manifest import MANIFEST
from penstock.records import Manifest
from penstock.runtime.environments import LOCK
from penstock.runtime.original import load_original

ENTRY = "penstock.build.archived:load_once"


class _Once(msgspec.Struct, frozen=True):
    """What to load: a file of the package, and its kind."""

    entry: str
    kind: str


def package_archive(kind: str, archive: Path, place: Path, request: BuildRequest) -> tuple[Path, Manifest]:
    """Make a package's folder of an archive.

    Args:
        kind: A name of the adapters' ``archive`` table.
        archive: A copy of it that nobody else writes.
        place: The workplace, with ``package`` and ``scratch`` in it, empty.
        request: What to make of it.

    Raises:
        InvalidInput: It was given rows, or requirements beside its own.
        Untrusted: It holds anything but plain files under plain names, or contradicts itself.
        BadConfig: It needs what is not here, or is asked for what only a graph or rows can show.
        ModelFailed: Its code cannot be loaded.
    """
    if request.data is not None or request.requirements is not None:
        raise InvalidInput(
            "an archive takes bodies that only its handler can read, and has requirements of its own",
            "package it without data and without requirements",
            where="data",
        )
    if request.providers:
        raise BadConfig(
            "an archive's handler runs as it is, and execution providers run compiled graphs alone",
            "package it without --provider; where its handler opens a session, it chooses there",
            code="runtime.no_graph",
        )
    if request.prove_environment:
        raise BadConfig(
            "an archive has no examples that its handler could be asked for in an environment of its lock",
            "package it without --prove-environment; where it is served it has to load in that environment",
            code="build.no_environment",
        )
    reader: ArchiveType = load("archive", kind)()
    made = reader.make(archive, place / "made")
    folder = place / "package"
    shutil.rmtree(folder)
    made.folder.rename(folder)
    (folder / MANIFEST).unlink()
    notes = {"archive": f"{made.manifest.name} {made.manifest.parameters.get('modelVersion', '')}".strip()}
    if (folder / LOCK).exists():
        notes["not_loaded"] = "its requirements are its own; it is loaded for the first time where it is served"
    else:
        request.progress("loading its handler in the sandbox")
        once = _Once(str((folder / made.manifest.entry).resolve()), made.manifest.kind)
        sandboxed(ENTRY, once, folder, place / "scratch", patience_s=request.patience_s)
    manifest = msgspec.structs.replace(
        made.manifest,
        name=request.name,
        datasets=request.datasets,
        parent=request.parent,
        created_at=request.created_at or time.time(),
        builder=f"penstock {version('penstock')}",
        parameters=made.manifest.parameters | request.parameters,
        source=request.source | notes,
        declared=request.declared,
    )
    return folder, add_bill(folder, manifest)


def load_once(arguments: object, scratch: Path) -> object:
    """The sandbox's entry: whether an archive's code loads."""
    del scratch
    once = msgspec.convert(arguments, _Once)
    load_original(Path(once.entry), once.kind)
    return True
