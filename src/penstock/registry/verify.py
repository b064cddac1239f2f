"""Verify a home offline: every event, the signed heads, every package and report, with the public key alone.

    registry.db -> Walk -> State -> packages/, reports/        head.json and a head kept elsewhere -> the chain's end

What comes in: a home folder, the public key, and a head that was kept outside. What goes out: a `Verification`
that names each event by number and field and each file by path. Nothing is written, nothing is executed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from penstock.access.keys import PublicKey, read_public
from penstock.adapters import load
from penstock.errors import BadConfig, Corrupt, NotFound, PenstockError
from penstock.packages.publickey import VerifyingKey
from penstock.packages.read import open_package
from penstock.records import Event, KeyRecord, Record, SignedHead, Verdict, Version
from penstock.registry.bootstrap import PACKAGES
from penstock.registry.events import record_of
from penstock.registry.heads import check_head, read_head
from penstock.registry.home import Home
from penstock.registry.store import Store
from penstock.registry.trust import claims_trusted, read_package_key
from penstock.registry.walk import Problem, Walk

_BATCH = 500
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class Verification(Record, frozen=True, kw_only=True):
    """What was looked at, and all that is wrong with it.

    Attributes:
        events: How many events were read.
        packages: How many packages were opened.
        head: The hash of the last event.
        problems: Empty when all is as it was written.
        distrusted: Packages that are as they were written, but whose signer was revoked or removed since: nothing
            loads them.
    """

    events: int
    packages: int
    head: str
    problems: tuple[Problem, ...] = ()
    distrusted: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    folder: Path, public_keys: Sequence[PublicKey] = (), *, head: SignedHead | None = None, packages: bool = True
) -> Verification:
    """Walk a home's events, heads, packages and reports.

    Args:
        folder: The home.
        public_keys: Who may have signed the events; empty takes the key that lies in the home, which proves
            only that the home agrees with itself.
        head: A signed head that was kept outside; it finds a store that was put back or cut off.
        packages: Also open every package and report that the events name.

    Raises:
        NotFound: There is no registry in the folder, or no public key.
    """
    home = Home(folder=folder.absolute())
    keys = tuple(public_keys) or (read_public(home.public_key),)
    walk = Walk(keys)
    events: list[Event] = []
    try:
        events = _walk_store(home, walk)
    except (Corrupt, BadConfig) as error:
        walk.problems.append(Problem(file=home.database.name, message=error.message))
    problems = walk.problems + list(_check_heads(home, walk, keys, head))
    names = _named_packages(events) if packages else {}
    distrusted: list[str] = []
    if packages:
        problems += _check_packages(home, walk, events, distrusted)
        problems += _check_reports(home, events)
    return Verification(
        events=len(events),
        packages=len(names),
        head=events[-1].hash if events else "",
        problems=tuple(problems),
        distrusted=tuple(distrusted),
    )


def _walk_store(home: Home, walk: Walk) -> list[Event]:
    store = cast("type[Store]", load("store", "sqlite")).open(home.database, read_only=True)
    events: list[Event] = []
    try:
        for item in _read(store):
            if isinstance(item, Event):
                walk.take(item)
                events.append(item)
            else:
                walk.unreadable(*item)
        walk.problems += [Problem(file=home.database.name, message=line) for line in store.check()]
    finally:
        store.close()
    return events


def _read(store: Store) -> Iterator[Event | tuple[int, str]]:
    """Every event, or number and field of one that cannot be read; one at a time where a batch has such a one."""
    since, limit = 0, _BATCH
    while True:
        try:
            batch = store.read(since, limit)
        except Corrupt as error:
            match = re.fullmatch(r"events\[(\d+)\]\.(\w+)", error.where)
            if match is None:
                raise
            if limit == 1:
                since = int(match.group(1))
                yield since, match.group(2)
            limit = 1
            continue
        if not batch:
            return
        yield from batch
        since = batch[-1].seq


def _check_heads(home: Home, walk: Walk, keys: Sequence[PublicKey], outside: SignedHead | None) -> Iterator[Problem]:
    try:
        yield from _check_head(read_head(home.head), walk, keys, file=home.head.name)
    except NotFound:
        yield Problem(file=home.head.name, message="it is missing")
    except Corrupt as error:
        yield Problem(file=home.head.name, message=error.message)
    if outside is not None:
        yield from _check_head(outside, walk, keys, file="the head kept outside")


def _check_head(head: SignedHead, walk: Walk, keys: Sequence[PublicKey], *, file: str) -> Iterator[Problem]:
    if not check_head(head, keys):
        yield Problem(file=file, message="its signature is not the key's")
        return
    last = max(walk.hashes, default=0)
    if head.seq > last:
        message = f"it is missing: the chain ends at event {last}, {file} says {head.seq}"
        yield Problem(seq=last + 1, message=message)
    elif walk.hashes.get(head.seq) != head.hash:
        yield Problem(seq=head.seq, field="hash", message=f"it is not the event that {file} names")


def _named_packages(events: Sequence[Event]) -> dict[str, int]:
    """Digest -> number of the event that first names it."""
    names: dict[str, int] = {}
    for event, record in _records(events, "version.registered"):
        if isinstance(record, Version):
            names.setdefault(record.digest, event.seq)
    return names


def _check_packages(home: Home, walk: Walk, events: Sequence[Event], distrusted: list[str]) -> Iterator[Problem]:
    try:
        ever = _keys_ever(events)
    except Corrupt as error:
        yield Problem(file=home.database.name, field="keys", message=error.message)
        return
    for digest, seq in _named_packages(events).items():
        match = _DIGEST.fullmatch(digest)
        if match is None:
            continue
        place = f"{home.packages.name}/{match.group(1)}"
        if not (home.folder / place).is_dir():
            yield Problem(file=place, message=f"the package is missing; event {seq} names it")
            continue
        try:
            # A key that was given up still proves that nothing was changed since it signed.
            open_package(home.folder / place, keys=ever, digest=digest)
            if not claims_trusted(home.folder / place, walk.state):
                distrusted.append(place)
        except PenstockError as error:
            yield Problem(file=f"{place}/{error.where}".rstrip("/"), message=f"{error.message}; event {seq} names it")
        except OSError:
            yield Problem(file=place, message=f"it cannot be read; event {seq} names it")


def _keys_ever(events: Sequence[Event]) -> tuple[VerifyingKey, ...]:
    """Every key that the chain trusted with packages at some time."""
    pems = [one.pem for _, one in _records(events, "key.added") if isinstance(one, KeyRecord) and one.name == PACKAGES]
    return tuple(read_package_key(pem) for pem in dict.fromkeys(pems))


def _check_reports(home: Home, events: Sequence[Event]) -> Iterator[Problem]:
    """Every gate report that a verdict names by digest is there and has it."""
    for event, record in _records(events, "verdict.given"):
        match = _DIGEST.fullmatch(record.report) if isinstance(record, Verdict) else None
        if match is None:
            continue
        found = sorted(home.reports.glob(f"{match.group(1)}*"))
        if not found:
            place = f"{home.reports.name}/{match.group(1)}"
            yield Problem(file=place, message=f"the report is missing; event {event.seq} names it")
        for path in found:
            if hashlib.sha256(path.read_bytes()).hexdigest() != match.group(1):
                place = f"{home.reports.name}/{path.name}"
                yield Problem(file=place, message=f"it is not what event {event.seq} names")


def _records(events: Sequence[Event], kind: str) -> Iterator[tuple[Event, Record]]:
    for event in events:
        if event.kind != kind:
            continue
        try:
            yield event, record_of(event)
        except Corrupt:
            continue
