"""The contract of a store: it keeps events in order, and lets exactly one writer decide what comes next.

    read(since, limit) -> events          append(since, decide) -> event          check() -> problems

`append` is one transaction over all processes: the store locks, hands every event after `since` to `decide`,
and writes the one event that comes back, on the disk before it returns. What `decide` raises leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

from penstock.records import Event

Decide = Callable[[Sequence[Event]], Event]
"""The events the caller has not seen -> the next event, sealed."""


class Store(Protocol):
    """Where events are kept."""

    @classmethod
    def open(cls, place: Path, *, read_only: bool = False) -> Self:
        """Open the store at a place, made when it is not there and may be written.

        Raises:
            NotFound: There is none and it may not be made.
            BadConfig: A newer Penstock wrote it; nothing was changed.
            Corrupt: What is there is no store.
        """
        ...

    def read(self, since: int, limit: int) -> list[Event]:
        """The events numbered above `since`, in order, at most `limit` of them.

        Raises:
            Corrupt: A row is no event; the message names its number and field.
        """
        ...

    def append(self, since: int, decide: Decide) -> Event:
        """Write the one event that `decide` makes of everything after `since`; durable when this returns.

        Raises:
            Conflict: Its number or its subject's generation is taken.
            NotReady: The store is busy or full; nothing was written.
            Fault: The disk failed; the event may or may not be there, and reading again tells.
        """
        ...

    def check(self) -> list[str]:
        """What is wrong with the store's own structure, in words; empty when nothing is."""
        ...

    def close(self) -> None:
        """Give everything back; the store may be opened again."""
        ...
