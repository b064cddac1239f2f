"""How much a sandboxed process may take, and which walls this machine can put around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_MEBIBYTE = 1 << 20


class Quota(NamedTuple):
    """How much a sandboxed process may take.

    Attributes:
        memory_bytes: Address space, shared libraries included.
        time_s: Wall-clock time of a task; a worker has none of its own, its requests have.
        cpu_s: Processor time; 0 for no limit but `time_s`.
        threads: Threads at one time; there are no child processes.
        files: Open files.
        file_bytes: Size of one file.
        weak: Go on where the machine cannot put up enough walls. A caller that sets it records an event.
    """

    memory_bytes: int = 4096 * _MEBIBYTE
    time_s: float = 300.0
    cpu_s: int = 0
    threads: int = 64
    files: int = 256
    file_bytes: int = 2048 * _MEBIBYTE
    weak: bool = False


class Level(NamedTuple):
    """Which walls stand.

    Attributes:
        walls: Every wall by name (limits, privileges, files, calls, tcp, signals, user, network, mount, process,
            ipc), with the empty text where it stands, else with why it does not.
    """

    walls: Mapping[str, str]

    def stands(self, *names: str) -> bool:
        """Whether at least one of these walls stands."""
        return any(self.walls.get(name, "missing") == "" for name in names)

    @property
    def enough(self) -> bool:
        """No network, no write outside the scratch folder, no other process, and limits that hold."""
        return all(
            (
                self.stands("calls", "network"),
                self.stands("files", "mount"),
                self.stands("calls", "process"),
                self.stands("limits"),
                self.stands("privileges"),
            )
        )

    @property
    def missing(self) -> str:
        """The walls that do not stand, with why, in one line; empty when all do."""
        return "; ".join(f"{name}: {why}" for name, why in self.walls.items() if why)
