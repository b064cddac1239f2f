"""What sending a package to somebody's registry and fetching one have in common: the way there, and how far it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from penstock.app.app import App
from penstock.records import Transfer, Version, encode
from penstock.registry.oci import OciRepository
from penstock.registry.oci_login import find_login
from penstock.registry.oci_reference import OciReference
from penstock.registry.oci_wire import OciWire

_PATIENCE_S = 2.0
"""What takes longer than this says how far it is."""
_MIB = 1 << 20

Step = Callable[[str], None]


class Transferred(NamedTuple):
    """What went over.

    Attributes:
        ref: ``name@3``, in the home that asked; empty where it has no number yet.
        digest: The package's.
        place: ``oci://HOST/REPOSITORY:TAG``.
        artifact: Digest of the artifact's manifest.
        files: How many the package has.
        moved: Files that went over now; the others were there.
        moved_bytes: Theirs.
        news: Whether anything changed.
    """

    ref: str
    digest: str
    place: str
    artifact: str
    files: int
    moved: int
    moved_bytes: int
    news: bool


class TransferPace:
    """Says how far a file is, now and then.

    Args:
        told: Hears it.
        what: The file, in words.
        size: Its bytes.
    """

    def __init__(self, told: Step, what: str, size: int) -> None:
        self._told = told
        self._what = what
        self._size = size
        self._next = time.monotonic() + _PATIENCE_S

    def __call__(self, done: int) -> None:
        """So many bytes went over."""
        now = time.monotonic()
        if now >= self._next:
            self._told(f"{self._what}: {done / _MIB:,.0f} of {self._size / _MIB:,.0f} MiB")
            self._next = now + _PATIENCE_S


def record_transfer(app: App, kind: str, version: Version, place: str, artifact: str) -> None:
    """Say that a version went over, once for each place and artifact: also where a kill came before its event.

    Args:
        app: Who moved it.
        kind: ``package.pushed`` or ``package.pulled``.
        version: What went over.
        place: Where the artifact is, by its tag.
        artifact: Digest of its manifest.
    """
    record = Transfer(
        model=version.model, version=version.version, digest=version.digest, place=place, artifact=artifact
    )
    subject, body = f"transfer/{version.model}", encode(record).decode()
    if not any(event.body == body for event in app.registry.events(kind=kind, subject=subject)):
        app.registry.append(kind, subject, record, by=app.identity)


def open_repository(
    reference: OciReference,
    home: Path,
    *,
    scope: str,
    plain_http: bool = False,
    environment: Mapping[str, str] | None = None,
) -> OciRepository:
    """The repository that a reference names.

    Args:
        reference: As typed.
        home: The home folder, which remembers uploads that were begun.
        scope: ``pull`` or ``pull,push``.
        plain_http: Speak HTTP without TLS to hosts other than this machine.
        environment: Where name and password are looked for; the process's own where not given.

    Raises:
        BadConfig: The login that lies here is of no use.
    """
    login = find_login(reference, os.environ if environment is None else environment)
    return OciRepository(OciWire(reference, login, scope=scope, plain_http=plain_http), begun=home / "run" / "uploads")
