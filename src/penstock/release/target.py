"""Stage 4, release: the contract of what runs a release (this machine, containers, a cloud).

In: a wish, the whole of what should run. Out: what does run, as those who run it say themselves.
All three verbs may be called again and again; a caller that died between two of them is no harm.
"""

from __future__ import annotations

from typing import Protocol

from penstock.records import Grant, Record, Route, WorkerStatus


class Wish(Record, frozen=True, kw_only=True):
    """All that the data plane is told.

    Attributes:
        routes: One an endpoint.
        packages: Digest to package folder, for every digest the routes name, warm ones included.
        grants: The tokens it knows.
    """

    routes: tuple[Route, ...] = ()
    packages: dict[str, str] = {}
    grants: tuple[Grant, ...] = ()


class TargetStatus(Record, frozen=True, kw_only=True):
    """What a target found when it looked.

    Attributes:
        number: Of the wish that was written last; 0 before the first.
        wish: The one written last.
        running: Something answers, or is about to.
        ready: Digests that every worker has loaded and proven.
        failed: Digest to why some worker could not make it ready.
        settled: Every worker answers by the wish that was written last.
        workers: As they described themselves.
        url: Where predictions are answered; empty while nothing listens.
        grpc: The same for gRPC, ``host:port``.
    """

    number: int = 0
    wish: Wish = Wish()
    running: bool = False
    ready: tuple[str, ...] = ()
    failed: dict[str, str] = {}
    settled: bool = False
    workers: tuple[WorkerStatus, ...] = ()
    url: str = ""
    grpc: str = ""

    def route(self, endpoint: str) -> Route | None:
        """The route that was written last for an endpoint."""
        return next((route for route in self.wish.routes if route.endpoint == endpoint), None)


class Target(Protocol):
    """Runs releases."""

    def apply(self, wish: Wish, *, expect: int | None = None) -> int:
        """Make it so, soon: written durably when this returns, reached when `observe` says settled.

        The same wish again changes nothing, but starts what should run and does not.

        Args:
            wish: All of it; an endpoint that is not in it is served no longer.
            expect: The number on which the decision rests; None where any will do.

        Returns:
            The number of the wish.

        Raises:
            Conflict: Another wish was written since.
            TargetFailed: It cannot be written, or nothing can be started.
        """
        ...

    def observe(self) -> TargetStatus:
        """What runs now; changes nothing.

        Raises:
            TargetFailed: It cannot be known.
        """
        ...

    def remove(self) -> None:
        """Answer what is held, then stop; the wish stays for a later `apply` to start by."""
        ...
