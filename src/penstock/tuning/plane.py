"""A data plane of its own to measure on, beside the one that answers: own folder, own port, nothing recorded.

Package + Setting --snapshot file--> python -m penstock.serve -> workers that answer by it, ready to be measured
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from msgspec.structs import replace

from penstock.access.files import write_whole
from penstock.errors import Corrupt, NotReady, TargetFailed
from penstock.packages.read import Package
from penstock.records import Limits, Record, Route, Snapshot, Variant, WorkerStatus, decode, encode
from penstock.tuning.settings import Setting, limits_with

MODULE = "penstock.serve"
ENDPOINT = "tuned"
START_S = 60.0
GRACE_S = 3.0
"""Nobody but our own clients holds on to a worker that is retired."""
PAUSE_S = 0.01


class _Note(Record, frozen=True, kw_only=True):
    """What the supervisor says of itself."""

    port: int
    workers: int


class TrialPlane:
    """A running data plane whose settings change.

    Args:
        package: What it serves; opened and verified.
        limits: What the release holds the endpoint to; its settings are replaced.
        environments: Where environments of sandboxed models are kept.
        keys: PEM file of who must have signed; None takes any package.
    """

    def __init__(
        self, package: Package, limits: Limits, *, environments: Path | None = None, keys: Path | None = None
    ) -> None:
        self._package = package
        self._limits = replace(limits, log="off")
        self._scratch = tempfile.TemporaryDirectory(prefix="penstock-tune-")
        self._run = Path(self._scratch.name)
        self._number = 0
        options = ["--run-dir", str(self._run), "--workers", "1", "--spares", "0", "--grace-s", str(GRACE_S)]
        options += ["--environments", str(environments)] if environments else []
        options += ["--keys", str(keys)] if keys else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._note().port

    def settle(self, setting: Setting) -> None:
        """Have every worker answer by a setting, and no other worker left.

        Raises:
            TargetFailed: The data plane ended.
            NotReady: The model does not answer by it; the message says why.
        """
        self._number += 1
        manifest = self._package.manifest
        variant = Variant(name="stable", model=manifest.name, version=1, digest=self._package.digest)
        route = Route(endpoint=ENDPOINT, release=1, variants=(variant,), limits=limits_with(self._limits, setting))
        folders = {self._package.digest: str(self._package.folder)}
        snapshot = Snapshot(number=self._number, routes=(route,), packages=folders, written_at=time.time())
        write_whole(self._run / "snapshot.json", encode(snapshot))
        end = time.monotonic() + START_S
        while not self._is_settled(setting.sizing.workers):
            if self._process.poll() is not None:
                raise TargetFailed("the data plane to measure on ended", "penstock serve PACKAGE says why")
            if time.monotonic() > end:
                raise NotReady(
                    f"the model does not answer by this setting: {self._told()}", "give the machine more memory or time"
                )
            time.sleep(PAUSE_S)

    def cpu_s(self) -> float:
        """Processor time of the whole process tree so far."""
        return _cpu_s(self._process.pid)

    def close(self) -> None:
        """End it, and leave nothing."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._scratch.cleanup()

    def _is_settled(self, workers: int) -> bool:
        try:
            found = [decode(path.read_bytes(), WorkerStatus) for path in (self._run / "workers").glob("[0-9]*.json")]
        except (OSError, Corrupt):
            return False  # one was just replaced, or has just ended
        failed = next((why for one in found if one.snapshot < self._number for why in one.failed.values()), "")
        if failed:
            raise NotReady(failed, "mend the model, or give it more memory")
        return len(found) == workers and all(one.snapshot == self._number and not one.draining for one in found)

    def _told(self) -> str:
        """What the workers last said, for whoever has to find out why."""
        found = sorted((self._run / "workers").glob("[0-9]*.json"))
        return f"{self._note().workers} workers wanted; " + "; ".join(path.read_text() for path in found)

    def _note(self) -> _Note:
        return decode((self._run / "supervisor.json").read_bytes(), _Note)


def idle_cpu_s() -> float:
    """Time that the machine's processors had nothing to do since it started, all together."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()
    return int(fields[4]) / os.sysconf("SC_CLK_TCK")


def _cpu_s(pid: int) -> float:
    """Processor time of the threads and children that live, in seconds (the kernel's sched-stats.rst)."""
    spent_ns = 0
    below = 0.0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            spent_ns += int((task / "schedstat").read_text().split()[0])
            below += sum(_cpu_s(int(child)) for child in (task / "children").read_text().split())
    except OSError:
        return below  # it ended meanwhile
    return spent_ns / 1e9 + below
