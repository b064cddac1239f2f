"""One server under measurement: its process tree, what it costs, and whether it answers right."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.client import connect
from bench.traffic import Traffic, fault

SERVER_CPU = 1
LOAD_CPU = 0
CHECKED_FIRST = 64
_TICK = os.sysconf("SC_CLK_TCK")


class Launch(NamedTuple):
    """How a server is started."""

    command: Sequence[str]
    environment: dict[str, str]
    folder: Path
    log: Path
    pinned: bool


class Server:
    """A running server and everything it started.

    Attributes:
        port: Where it is asked.
        started_at: `perf_counter` of its start.
    """

    def __init__(self, launch: Launch, port: int) -> None:
        self.port = port
        self.log = launch.log
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        pin = ("taskset", "-c", str(SERVER_CPU)) if launch.pinned else ()
        with launch.log.open("wb") as log:
            self.started_at = time.perf_counter()
            self._process = subprocess.Popen(
                [*pin, *launch.command],
                cwd=launch.folder,
                env=launch.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_right(self, traffic: Traffic, *, limit_s: float = 120.0) -> float:
        """Seconds from its start to its first right answer.

        Raises:
            RuntimeError: It ended, or is not right in time; with its last words.
        """
        last = "it never listened"
        while time.perf_counter() - self.started_at < limit_s:
            if self._process.poll() is not None:
                raise RuntimeError(f"it ended with {self._process.returncode}: {self._last_words()}")
            client = connect(self.port, traffic)
            try:
                last = fault(traffic, 0, client.ask(traffic, 0))
                if not last:
                    return time.perf_counter() - self.started_at
            except ConnectionError as error:
                last = str(error)
            finally:
                client.close()
            time.sleep(0.01)
        raise RuntimeError(f"not right within {limit_s:g} s: {last}; {self._last_words()}")

    def check(self, traffic: Traffic) -> None:
        """Ask for many different rows, one by one.

        Raises:
            RuntimeError: An answer is wrong.
        """
        client = connect(self.port, traffic)
        count = len(traffic.bodies)
        for index in range(0, count, max(count // CHECKED_FIRST, 1)):
            wrong = fault(traffic, index, client.ask(traffic, index))
            if wrong:
                raise RuntimeError(f"row {index}: {wrong}")
        client.close()

    def cpu_s(self) -> float:
        """User and system time so far of all its processes that live."""
        return sum(_cpu_ticks(pid) for pid in self._tree()) / _TICK

    def pss_mib(self) -> float:
        """Proportional set size of all its processes: shared pages are counted once."""
        return sum(_pss_kib(pid) for pid in self._tree()) / 1024

    def busiest(self) -> int:
        """The process that has worked most so far: of ours, the worker that answers."""
        return max(self._tree(), key=_cpu_ticks)

    def stop(self) -> None:
        """End exactly the processes that it started; more than once is harmless."""
        if self._process.returncode is not None:
            return
        tree = self._tree()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        for pid in tree[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _tree(self) -> list[int]:
        """Its process id and those of everything below, the root first."""
        below: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            below.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        tree = [self._process.pid]
        for pid in tree:
            tree += below.get(pid, [])
        return tree

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace").strip()[-400:]


def free_port() -> int:
    """A port that nobody listens on now, below two more: some servers take the next ones too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 65000 and all(_is_free(port + more) for more in range(1, 5)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
