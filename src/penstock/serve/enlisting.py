"""Stage 4, serve: endpoints that come and go at run time, on a data plane that nobody releases to.

    Enlist --below --models?--> signature, digests, memory --lock--> snapshot n + 1 --every worker proved it--> done
       `-- an archive: a package is made of it                `-- one could not --> snapshot n + 2, and why
    Dismiss --lock--> snapshot n + 1 without it --every worker went along--> done

A release is the control plane's word, and a second author of its snapshots would undo it: there, both are refused.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from penstock.access.files import locked
from penstock.adapters import TABLE, load
from penstock.errors import (
    Conflict,
    Corrupt,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    NotFound,
    NotReady,
    Refused,
    Untrusted,
)
from penstock.packages.digests import hex_of, named, sha256_bytes
from penstock.packages.find import package_in
from penstock.packages.manifest import MANIFEST, parse_manifest
from penstock.packages.publickey import VerifyingKey
from penstock.packages.read import open_package
from penstock.records import Limits, Route, Snapshot, Variant, decode, encode
from penstock.serve.acts import Enlist
from penstock.serve.cards import unknown_endpoint
from penstock.serve.needs import Needs
from penstock.serve.resting import statuses
from penstock.serve.snapshots import FILE, write_whole

if TYPE_CHECKING:
    from penstock.packages.archive import ArchiveType

WAIT_S = 60.0
"""How long an endpoint may take to be proven by every worker."""
BACK_S = 10.0
"""How long the way back may take before its caller is told anyway."""
LOOK_S = 0.02
LOCK = "snapshot.lock"
MEMORY = "serve.memory"
ARCHIVES = "archives"
"""Where packages are kept that were made of archives, in the run folder."""
_SUFFIXES = frozenset(f".{name}" for name in TABLE["archive"])
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class EnlistingTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Whether endpoints may come at run time, and from where.

    Attributes:
        models: Folders below which packages lie; none means that none may come.
        released: A control plane says what is served.
        keys: Who may have signed a package; None takes unsigned ones.
        limits: Of the new endpoints.
    """

    models: tuple[str, ...] = ()
    released: bool = True
    keys: Sequence[VerifyingKey] | None = None
    limits: Limits = Limits()


class Enlistment(NamedTuple):
    """What is to answer.

    Attributes:
        source: As the caller wrote it.
        folder: The package's; an archive's file until a package is made of it.
        digest: Empty until then.
        model: The manifest's name of it.
        rows: In one run; 0 leaves it to what is measured.
        version: As an archive says.
    """

    endpoint: str
    source: str
    folder: Path
    digest: str
    model: str
    rows: int = 0
    version: int = 1


class Enlisting:
    """Adds endpoints to the snapshot, and takes them out.

    Args:
        run: The run folder.
        terms: What is allowed here.
    """

    def __init__(self, run: Path, terms: EnlistingTerms) -> None:
        self._run = run
        self._terms = terms
        self._roots = [Path(os.path.realpath(folder)) for folder in terms.models]

    def plan(self, act: Enlist) -> Enlistment:
        """What an act means, by the package's manifest; nothing is trusted yet.

        Raises:
            Conflict: What answers here comes with releases.
            Forbidden: The folder is not below one that models may be taken from.
            NotFound: There is no package in it.
            Untrusted: It is an archive where packages must be signed, or none that can be read.
            InvalidInput: The name is no name.
        """
        self._own()
        place = self._place(act.source)
        if place.suffix in _SUFFIXES:
            if self._terms.keys is not None:
                raise Untrusted("packages must be signed here, and an archive is not", "serve without --keys")
            name, version = _reader(place).named(place)
            # A handler takes what it is written for: one request, unless somebody says more.
            return Enlistment(_checked(act.endpoint or name), act.source, place, "", name, act.rows or 1, version)
        folder = package_in(place)
        data = (folder / MANIFEST).read_bytes()
        manifest = parse_manifest(data)
        endpoint = _checked(act.endpoint or manifest.name)
        return Enlistment(endpoint, act.source, folder, named(sha256_bytes(data)), manifest.name, act.rows)

    async def enlist(self, wanted: Enlistment) -> None:
        """Have it answer in every worker, or in none.

        Raises:
            Conflict: There is an endpoint of that name.
            Untrusted: The package is not what was signed, or not whole.
            NotReady: It does not fit into memory; code ``serve.memory``.
            Refused: A worker could not make it ready.
            DeadlineExceeded: It took too long.
        """
        wanted = await asyncio.to_thread(self._admit, wanted)
        # Another worker may hold the lock while it removes a package.
        number = await asyncio.to_thread(self._change, lambda snapshot: self._with(snapshot, wanted))
        try:
            await self._everywhere(number, wanted.digest)
        except BaseException:
            # Somebody may have dismissed it meanwhile.
            with suppress(NotFound):
                back = await asyncio.to_thread(self._change, lambda snapshot: _without(snapshot, wanted.endpoint))
                # Until all have gone back, a second try could meet what is said of the first one.
                await self._gone(back)
                await asyncio.to_thread(self._tidy, wanted.digest)
            raise

    async def dismiss(self, endpoint: str) -> None:
        """Take it away in every worker.

        Raises:
            Conflict: It comes with a release.
            NotFound: There is none.
            DeadlineExceeded: Not every worker has gone along yet; they go on.
        """
        self._own()
        digests: set[str] = set()

        def without(snapshot: Snapshot) -> Snapshot:
            after = _without(snapshot, endpoint)
            digests.update(
                one.digest for route in snapshot.routes if route.endpoint == endpoint for one in route.variants
            )
            return after

        number = await asyncio.to_thread(self._change, without)
        if not await self._gone(number):
            raise DeadlineExceeded("not every worker has done it yet", "they go on; look at the list")
        for digest in digests:
            await asyncio.to_thread(self._tidy, digest)

    def _own(self) -> None:
        if self._terms.released:
            raise Conflict(
                "the endpoints of this data plane belong to releases",
                "release a version, or start a data plane of its own with --models",
                code="serve.released",
            )
        if not self._roots:
            raise Forbidden("no endpoint may be added or removed here", "serve with --models DIR", code="serve.fixed")

    def _place(self, source: str) -> Path:
        text = source.removeprefix("file://")
        if not text or "\0" in text or "://" in text:
            raise InvalidInput("this is no folder", "send the path of a package's folder", where="url")
        folder = Path(os.path.realpath(self._roots[0] / text))
        if not any(root in folder.parents for root in self._roots):
            raise Forbidden("models may not be taken from there", "put it below a folder that --models names")
        if not (folder.is_dir() or (folder.suffix in _SUFFIXES and folder.is_file())):
            raise NotFound("there is no such folder or archive", "put the package there first", code="packages.none")
        return folder

    def _admit(self, wanted: Enlistment) -> Enlistment:
        """On a thread: everything that can be known before a worker loads it."""
        self._with(self._snapshot(), wanted)  # or a package would be made of an archive for nothing
        archive = not wanted.digest
        if archive:
            made = _reader(wanted.folder).make(wanted.folder, self._run / ARCHIVES)
            wanted = wanted._replace(folder=made.folder, digest=made.digest)
        package = open_package(wanted.folder, keys=self._terms.keys, digest=wanted.digest)
        try:
            Needs(self._run / "needs").admit(package, wanted.digest)
        except NotReady as error:
            if archive:
                self._tidy(wanted.digest)
            raise NotReady(error.message, error.hint, code=MEMORY) from error
        return wanted

    def _snapshot(self) -> Snapshot:
        try:
            return decode((self._run / FILE).read_bytes(), Snapshot)
        except (OSError, Corrupt):
            return Snapshot(number=0)

    def _change(self, change: Callable[[Snapshot], Snapshot]) -> int:
        """Write another snapshot; its number."""
        with locked(self._run / LOCK):
            before = self._snapshot()
            after = change(before)
            if after.routes == before.routes:
                return before.number
            used = {one.digest for route in after.routes for one in route.variants}
            after = msgspec.structs.replace(
                after,
                number=before.number + 1,
                packages={digest: folder for digest, folder in after.packages.items() if digest in used},
                written_at=time.time(),
            )
            write_whole(self._run / FILE, encode(after))
            return after.number

    def _with(self, snapshot: Snapshot, wanted: Enlistment) -> Snapshot:
        if any(route.endpoint == wanted.endpoint for route in snapshot.routes):
            raise Conflict("there is an endpoint of that name", "remove it first", code="serve.enlisted")
        limits = self._terms.limits
        if wanted.rows:
            batching = msgspec.structs.replace(limits.batching, rows=wanted.rows)
            limits = msgspec.structs.replace(limits, batching=batching)
        route = Route(
            endpoint=wanted.endpoint,
            # Another one than that of any endpoint before it: an unload holds for one release.
            release=snapshot.number + 1,
            variants=(Variant(name="stable", model=wanted.model, version=wanted.version, digest=wanted.digest),),
            public=not snapshot.grants,
            limits=limits,
            source=wanted.source,
        )
        packages = {**snapshot.packages, wanted.digest: str(wanted.folder)}
        return msgspec.structs.replace(snapshot, routes=(*snapshot.routes, route), packages=packages)

    def _tidy(self, digest: str) -> None:
        """Remove a package that was made of an archive and that no endpoint has any more."""
        with locked(self._run / LOCK):
            if digest not in self._snapshot().packages:
                shutil.rmtree(self._run / ARCHIVES / hex_of(digest), ignore_errors=True)

    async def _everywhere(self, number: int, digest: str) -> None:
        """Wait until every worker that serves answers by the snapshot of that number."""
        end = time.monotonic() + WAIT_S
        while True:
            said = statuses(self._run)
            behind = [one for one in said if one.snapshot < number]
            # One that a worker does not trust keeps no other endpoint from coming, so that it may be past it.
            for one in behind or said:
                if digest in one.failed:
                    raise _unfit(one.failed[digest], one.codes.get(digest, ""))
            if not behind:
                return
            if time.monotonic() > end:
                raise DeadlineExceeded("not every worker could prove it in time", "it was taken back; try again")
            await asyncio.sleep(LOOK_S)

    async def _gone(self, number: int) -> bool:
        """Whether every worker goes by the snapshot of that number, soon."""
        end = time.monotonic() + BACK_S
        while any(one.snapshot < number for one in statuses(self._run)):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(LOOK_S)
        return True


def _reader(place: Path) -> ArchiveType:
    reader: ArchiveType = load("archive", place.suffix.removeprefix("."))()
    return reader


def _checked(endpoint: str) -> str:
    if not _NAME.fullmatch(endpoint):
        raise InvalidInput("this is no name of an endpoint", "use letters, digits, . _ and -", where="name")
    return endpoint


def _without(snapshot: Snapshot, endpoint: str) -> Snapshot:
    routes = tuple(route for route in snapshot.routes if route.endpoint != endpoint)
    if len(routes) == len(snapshot.routes):
        raise unknown_endpoint()
    return msgspec.structs.replace(snapshot, routes=routes)


def _unfit(why: str, code: str) -> NotReady | Refused:
    """Why a worker could not make it ready, to the caller."""
    if code == "runtime.memory":
        return NotReady(why, code=MEMORY)
    return Refused(f"the package could not be made ready: {why}", "nothing was changed", code="serve.unfit")
