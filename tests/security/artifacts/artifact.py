"""One hostile artifact: how it is made, and through which door it comes.

Everything is made by hand from bytes, so that no library has to be installed that would refuse to make it, and the
same seed makes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Target(NamedTuple):
    """What it is after; each of these is watched.

    Attributes:
        folder: Holds everything below.
        marker: A file that must never be there.
        secret: A file that must not change, nor be read.
        port: Where somebody listens on the loopback, whom nothing may call.
    """

    folder: Path
    marker: str
    secret: str
    port: int

    @property
    def shell(self) -> str:
        """A command that leaves the marker."""
        return f"echo harm > {self.marker}"

    @property
    def source(self) -> str:
        """Python that tries everything: files, the network, processes, signals."""
        return (
            "import os, socket\n"
            "def tried(step):\n"
            "    try: step()\n"
            "    except BaseException: pass\n"
            f"tried(lambda: open({self.marker!r}, 'w').write('harm'))\n"
            f"tried(lambda: open({self.secret!r}, 'a').write('harm'))\n"
            f"tried(lambda: os.symlink({self.secret!r}, {self.marker + '-link'!r}))\n"
            f"tried(lambda: os.mkdir({self.marker + '-folder'!r}))\n"
            f"tried(lambda: socket.create_connection(('127.0.0.1', {self.port}), 1).send(b'harm'))\n"
            f"tried(lambda: os.system({self.shell!r}))\n"
            "tried(lambda: os.kill(os.getppid(), 15))\n"
            "tried(lambda: os.kill(-1, 15))\n"
        )

    @property
    def expression(self) -> str:
        """The same as one expression."""
        return f"exec({self.source!r})"


class Artifact(NamedTuple):
    """Something that somebody sends.

    Attributes:
        family: Of which kind.
        name: What is wrong with it.
        door: How it comes in: build, unpack, mar, serve; see `tests.security.doors`.
        make: Writes it into an empty folder and tells the path that is handed over.
    """

    family: str
    name: str
    door: str
    make: Callable[[Path, Target], Path]


def file_of(family: str, name: str, data: Callable[[Target], bytes], *, door: str = "build") -> Artifact:
    """An artifact that is one file."""

    def make(folder: Path, target: Target) -> Path:
        place = folder / "model"
        place.write_bytes(data(target))
        return place

    return Artifact(family, name, door, make)


Source = Callable[[Target], Iterator[tuple[str, bytes]]]
NOBODY = Target(Path("."), "marker", "secret", 1)
"""Nobody is after anything yet: names are told before the canaries sit."""


def several(family: str, source: Source, *, door: str = "build") -> Iterator[Artifact]:
    """An artifact of each file that a source tells."""
    for name in _told(source, NOBODY):
        yield file_of(family, name, lambda target, name=name: _told(source, target)[name], door=door)


@cache
def _told(source: Source, target: Target) -> dict[str, bytes]:
    return dict(source(target))
