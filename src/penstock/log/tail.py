"""Follow a journal: what was written since the last look.

Comes in: a folder of segments that others append to. Goes out: records, in each writer's order. A damaged segment
is named once and left; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar, cast

import msgspec

from penstock.errors import Corrupt
from penstock.log.captures import captured, pack, unpack
from penstock.log.journal import HEADER, SUFFIX, read_segment
from penstock.records import Exchange, Outcome

T = TypeVar("T")
_outcome = msgspec.msgpack.Decoder(Outcome).decode


class Tail(Generic[T]):
    """A reader with a memory of how far it read.

    Args:
        folder: Of segments; may not be there yet.
        kind: `Exchange` or `Outcome`.
        offsets: Where an earlier reader stopped, by segment name.
    """

    def __init__(self, folder: Path, kind: type[T], *, offsets: dict[str, int] | None = None) -> None:
        self.offsets = dict(offsets or {})
        self.damaged: dict[str, str] = {}
        self._folder = folder
        self._records = cast("Callable[[bytes], list[T]]", _READERS[kind])

    def read(self) -> list[T]:
        """Everything whole that was written since the last call; segments by age, each in its order."""
        found: list[T] = []
        for path in segments(self._folder):
            try:
                if path.name in self.damaged or path.stat().st_size <= max(self.offsets.get(path.name, 0), len(HEADER)):
                    continue
                payloads, self.offsets[path.name] = read_segment(path, self.offsets.get(path.name, 0))
                for payload in payloads:
                    found += self._records(payload)
            except FileNotFoundError:
                # It was pruned since the folder was listed: all of it is in the tables.
                continue
            except (Corrupt, msgspec.DecodeError) as error:
                self.damaged[path.name] = str(error)
        return found


def segments(folder: Path) -> list[Path]:
    """A folder's segments, the oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stem.rsplit("-", 2)[1:])


def payload(record: Exchange | Outcome) -> bytes:
    """A record as the journal holds it."""
    return pack(captured(record) if isinstance(record, Exchange) else record)


def _outcomes(payload: bytes) -> list[Outcome]:
    return [_outcome(payload)]


_READERS: dict[type, Callable[[bytes], list[Exchange]] | Callable[[bytes], list[Outcome]]] = {
    Exchange: unpack,
    Outcome: _outcomes,
}
