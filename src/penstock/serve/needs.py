"""Stage 4, serve: how much memory each package was measured to take, so that one that cannot fit is not tried again.

loaded once --keep--> run/needs/<digest> --of--> asked for before it is loaded again, by any worker

What a sandboxed model takes is that of its template, and what the process that answers does not share with it.
"""

from __future__ import annotations

from pathlib import Path

from penstock.packages.manifest import model_bytes
from penstock.packages.read import Package
from penstock.runtime.engine import Engine, RemoteEngine
from penstock.runtime.memory import require
from penstock.serve.snapshots import leave_word


class Needs:
    """What this machine's workers have measured.

    Args:
        folder: One small file a package; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def of(self, digest: str) -> int:
        """Bytes that a package takes; 0 while nobody has measured it."""
        if self._folder is None:
            return 0
        try:
            return int((self._folder / _name(digest)).read_bytes())
        except (OSError, ValueError):
            return 0

    def keep(self, digest: str, need_bytes: int) -> None:
        """Note what was measured."""
        if self._folder is not None:
            leave_word(self._folder / _name(digest), b"%d" % need_bytes)

    def admit(self, package: Package, digest: str) -> None:
        """Refuse a package that does not fit into what is left, before it is loaded.

        Raises:
            NotReady: By what was measured, or by the size of its graph, which is the least it can take.
        """
        known = self.of(digest)
        manifest = package.manifest
        require(known or model_bytes(manifest), manifest.name, known=bool(known))


def measured(engine: Engine, grown_bytes: int) -> int:
    """What a loaded model takes: its processes, or what this one has grown by."""
    if isinstance(engine, RemoteEngine):
        return engine.need_bytes
    return max(grown_bytes, 0)


def _name(digest: str) -> str:
    return digest.rpartition(":")[2] or "unknown"
