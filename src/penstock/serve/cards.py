"""Stage 4, serve: what callers may know of the endpoints, free of any dialect.

Comes in: what `penstock.serve.catalogue` found on the board and in the counters. Goes out: a `Catalogue`, which each
dialect writes in its own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from penstock.errors import NotFound
from penstock.records import Limits, WorkerStatus
from penstock.tensors import Signature

LABEL = "@"
"""What a version begins with that is the name of a variant."""
State = Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]


class Duration(NamedTuple):
    """So many times, nanoseconds in all."""

    times: int = 0
    ns: int = 0


class BatchCount(NamedTuple):
    """Engine runs of one size.

    Attributes:
        rows: Of one run; above 32 the next power of two.
        infer_ns: In the engine, all runs together.
    """

    rows: int
    runs: int
    infer_ns: int


class Statistics(msgspec.Struct, frozen=True):
    """What one version of an endpoint has done, over all workers, since their counters exist.

    Attributes:
        last_ms: When its engine last ran, milliseconds since the epoch.
        rows: Rows answered.
        runs: Runs of the engine: fewer than requests where they were batched.
        success: Requests answered; from their last byte to their answer.
        fail: Requests refused or failed.
        queue: Requests that were run, and how long they waited for it; those answered with a whole turn of the event
            loop count their decoding and encoding here.
        input: The same requests, from last byte to conformed arrays.
        infer: The same requests, each with its whole run.
        output: The same requests, from run to answer.
    """

    version: str
    last_ms: int = 0
    rows: int = 0
    runs: int = 0
    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    input: Duration = Duration()
    infer: Duration = Duration()
    output: Duration = Duration()
    batches: tuple[BatchCount, ...] = ()


class Region(msgspec.Struct, frozen=True):
    """Bytes of a POSIX shared memory object that a caller registered under a name.

    Attributes:
        key: The object's name, as its owner writes it.
        offset: Of the region in the object, in bytes.
        size: In bytes.
        owner: Subject of the grant; empty for callers without one. Nobody else may use it.
        inode: Of the object when it was registered.
    """

    name: str
    key: str
    offset: int
    size: int
    owner: str = ""
    inode: int = 0


class Card(msgspec.Struct, frozen=True):
    """An endpoint as callers may see it.

    Attributes:
        signature: None while nothing is loaded.
        state: As Triton names them.
        reason: Why it is not ready; empty where it is.
        most_rows: In one request.
        engine: What runs it.
        statistics: One an answering version; empty unless they were asked for.
        source: Where it was taken from at run time, as its caller wrote it.
        digests: Of the packages, in the order of the versions.
        limits: Of the endpoint.
        waiting: Requests that wait in the worker that tells.
        batch_rows: Rows of its largest run, as they are now.
        labels: Name of each answering variant -> its version.
    """

    name: str
    versions: tuple[str, ...] = ()
    platform: str = ""
    ready: bool = False
    signature: Signature | None = None
    state: State = "LOADING"
    reason: str = ""
    most_rows: int = 0
    engine: str = ""
    statistics: tuple[Statistics, ...] = ()
    source: str = ""
    digests: tuple[str, ...] = ()
    limits: Limits = Limits()
    waiting: int = 0
    batch_rows: int = 0
    labels: Mapping[str, str] = {}

    def named(self, version: str) -> tuple[str, ...]:
        """The versions that a request means: a number, `LABEL` and a variant's name, or nothing for all."""
        if not version:
            return self.versions
        found = self.labels.get(version[1:], "") if version.startswith(LABEL) else version
        return (found,) if found in self.versions else ()


class Catalogue(msgspec.Struct, frozen=True):
    """All endpoints a caller may see, and whether this worker takes requests.

    Attributes:
        regions: The caller's own; empty unless they were asked for.
        answers: Every endpoint answers just now, those included that the caller may not see.
        workers: What they say of themselves; empty unless it was asked for.
    """

    cards: Mapping[str, Card]
    ready: bool
    regions: tuple[Region, ...] = ()
    answers: bool = False
    workers: tuple[WorkerStatus, ...] = ()

    def card(self, name: str, version: str = "") -> Card:
        """The endpoint of that name.

        Raises:
            NotFound: There is none, or it has no such version.
        """
        card = self.cards.get(name)
        if card is None:
            raise unknown_endpoint()
        if version and card.versions and not card.named(version):
            raise NotFound("the endpoint has no such version", "leave the version out", code="serve.no_version")
        return card


def unknown_endpoint() -> NotFound:
    """The same words whether it never existed or the caller may not know of it."""
    return NotFound("there is no such endpoint", "GET /v2/models lists them", code="serve.no_endpoint")
