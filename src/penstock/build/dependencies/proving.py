"""A lock is proven: its environment is built from nothing but its hashes, and the original answers the examples in it.

    requirements.lock -> hashes of all of it (index) -> environment, built unless it is there -> sandbox: the original
                      -> the golden examples' answers are the same -> a note in the manifest

What comes in: a package's folder before it has a manifest. What goes out: the request with the note in it. Packaging
does so only where it is asked to: an environment is minutes and hundreds of megabytes.
"""

from __future__ import annotations

import platform
import re
import sys
import time
from pathlib import Path

import msgspec

from penstock.build.dependencies.lock import NAME
from penstock.build.dependencies.resolve import resolve
from penstock.build.elsewhere import KINDS
from penstock.build.examine import GOLDEN, Examined
from penstock.build.proof import ask_afresh
from penstock.build.request import BuildRequest
from penstock.errors import BadConfig
from penstock.packages.golden import decode_golden
from penstock.runtime.environments import built_environment, parse

NOTE = "environment_proven"
"""Key of a manifest's source: what was built and asked."""

WITH_LIBRARIES = KINDS | {"torch", "keras", "savedmodel"}
"""Formats whose originals are loaded by a library; the others are numbers, or keep their own."""


def prove_environment(folder: Path, entry: str, examined: Examined, place: Path, request: BuildRequest) -> BuildRequest:
    """Build a lock's environment and have the original answer there.

    Args:
        folder: The package's, its lock written. Hashes that the lock lacks are added.
        entry: Path of the original in it.
        examined: What the original is.
        place: A folder for what the sandbox writes.
        request: Where environments are kept, how long it may take, who is told of the steps.

    Returns:
        The request, its source saying what was proven.

    Raises:
        BadConfig: The original needs no library; the lock cannot be resolved or installed, or lacks what it imports.
        Untrusted: What the index has is not what the lock's hashes say.
        ModelFailed: The original cannot be loaded there, or answers otherwise than here.
    """
    if examined.kind not in WITH_LIBRARIES or not (folder / entry).exists():
        raise BadConfig(
            f"a model of the format {examined.kind} has no environment to prove: no library of its own loads it",
            "package it without --prove-environment",
            code="build.no_environment",
        )
    lock = folder / NAME
    if unhashed(lock.read_text()):
        request.progress("asking the index for the lock's hashes")
        lock.write_text(resolve(lock, examined.kind))
    request.progress("building the lock's environment, unless it is there")
    begun = time.perf_counter()
    python = built_environment(lock, request.environments or request.out / "environments")
    built_s = time.perf_counter() - begun
    request.progress("asking the original in it")
    scratch = place / "proven"
    scratch.mkdir()
    begun = time.perf_counter()
    ask_afresh(folder, folder / entry, examined, scratch=scratch, patience_s=request.patience_s, python=python)
    asked_s = time.perf_counter() - begun
    rows = decode_golden((folder / GOLDEN).read_bytes(), examined.signature).rows
    note = (
        f"{len(parse(lock.read_text()))} distributions by their hashes, Python {sys.version_info[0]}."
        f"{sys.version_info[1]} on {platform.machine()}: {rows} golden rows answered alike; "
        f"built or found in {built_s:.1f} s, asked in {asked_s:.1f} s"
    )
    return msgspec.structs.replace(request, source={**request.source, NOTE: note})


def unhashed(text: str) -> tuple[str, ...]:
    """Pins of a lock that have no hash, with their versions."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]
    return tuple(line.partition(" ")[0] for line in lines if "--hash=sha256:" not in line)
