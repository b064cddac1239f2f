"""Stage 4, serve: endpoints that somebody unloaded, as a file that all workers follow.

    unload, load --under a lock--> run/resting.json (numbered, replaced whole) --each worker--> its board
    a worker's status file says up to which number it went: an act is done when all of them did it

An unload holds for the release it was made under: the next release of the endpoint is a newer word.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from penstock.access.files import locked
from penstock.errors import Corrupt
from penstock.records import Record, Snapshot, WorkerStatus, decode, encode
from penstock.serve.snapshots import write_whole

FILE = "resting.json"


class Resting(Record, frozen=True, kw_only=True):
    """Endpoint -> the release under which it was unloaded; numbered upward."""

    number: int = 0
    endpoints: dict[str, int] = {}

    def covers(self, endpoint: str, release: int) -> bool:
        """Whether the endpoint rests."""
        return self.endpoints.get(endpoint) == release

    def awake(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot without the routes that rest."""
        if not self.endpoints:
            return snapshot
        routes = tuple(route for route in snapshot.routes if not self.covers(route.endpoint, route.release))
        return msgspec.structs.replace(snapshot, routes=routes)


class RestingFile:
    """Follows the file in a run folder."""

    def __init__(self, run: Path) -> None:
        self._path = run / FILE
        self._seen: tuple[int, int, int] | None = None
        self.known = Resting()

    def changed(self) -> bool:
        """Whether it is another file than at the last look; `known` is what it says then."""
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._seen:
                return False
            self.known = decode(self._path.read_bytes(), Resting)
        except (OSError, Corrupt):
            return False
        self._seen = seen
        return True


def change(run: Path, endpoint: str, release: int | None) -> int:
    """Have an endpoint rest under a release, or wake it (None).

    Returns:
        The number up to which every worker has to go.

    Raises:
        OSError: The folder cannot be written.
    """
    with locked(run / f"{FILE}.lock"):
        try:
            before = decode((run / FILE).read_bytes(), Resting)
        except FileNotFoundError:
            before = Resting()
        endpoints = {name: at for name, at in before.endpoints.items() if name != endpoint}
        if release is not None:
            endpoints[endpoint] = release
        if endpoints == before.endpoints:
            return before.number
        after = Resting(number=before.number + 1, endpoints=endpoints)
        write_whole(run / FILE, encode(after))
        return after.number


def statuses(run: Path) -> list[WorkerStatus]:
    """What the workers that serve say of themselves."""
    found: list[WorkerStatus] = []
    for path in sorted((run / "workers").glob("[0-9]*.json")):
        try:
            found.append(decode(path.read_bytes(), WorkerStatus))
        except (OSError, Corrupt):
            continue
    return [one for one in found if not one.draining]
