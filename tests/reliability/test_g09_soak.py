"""G9: minutes of load, reloads and clients that go away leave nothing behind: memory, descriptors, threads, files."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route, until
from figures_for_tests import FULL, Figures
from packages_for_tests import linear_package
from tests.journeys.load_for_tests import children, descriptors, resident_mib
from tests.reliability.clients_for_tests import PATH, Load, loaded, post
from tests.reliability.hostile_for_tests import chunk

pytestmark = [pytest.mark.serial, pytest.mark.timeout(1800)]

SECONDS = 300.0 if FULL else 5.0
SETTLE_S = 60.0 if FULL else 2.0
RELOAD_S = 5.0 if FULL else 1.0
LOADS = 1000 if FULL else 25
BODIES = 20 if FULL else 4
SLACK = 2
PATIENCE_S = SECONDS + 60.0


class Processes:
    """The whole tree of a data plane: what it holds."""

    def __init__(self, plane: DataPlane) -> None:
        assert plane.process is not None
        self.supervisor = plane.process.pid

    def pids(self) -> list[int]:
        return [self.supervisor, *children(self.supervisor)]

    def mib(self) -> float:
        return sum(resident_mib(pid) for pid in self.pids())

    def fds(self) -> int:
        return sum(descriptors(pid) for pid in self.pids())

    def threads(self) -> int:
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.pids())


def files(plane: DataPlane) -> set[str]:
    """Files that a data plane may leave: temporary ones of its folder, and shared memory."""
    left = {str(path) for path in plane.run.rglob("*") if path.name.startswith(".")}
    return left | {f"/dev/shm/{name}" for name in os.listdir("/dev/shm") if "penstock" in name}


class Aborting(threading.Thread):
    """Clients that ask and go away before they are answered, or in the middle of what they send."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.over = threading.Event()
        self.times = 0

    def run(self) -> None:
        whole = post()
        while not self.over.wait(0.01):
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
                wire.sendall(whole if self.times % 2 else whole[: 20 + self.times % len(whole) // 2])
                if self.times % 3 == 0:
                    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.times += 1


def slope(samples: list[tuple[float, float]]) -> float:
    """Least squares, a minute."""
    middle = sum(at for at, _ in samples) / len(samples)
    mean = sum(value for _, value in samples) / len(samples)
    above = sum((at - middle) * (value - mean) for at, value in samples)
    return 60 * above / sum((at - middle) ** 2 for at, _ in samples)


@pytest.fixture
def serving(plane_of: DataPlane, tmp_path: Path) -> tuple[DataPlane, list[str]]:
    plane = plane_of
    digests = [plane.add(linear_package, tmp_path / f"v{n}", bias=n / 10) for n in range(4)]
    plane.write(route("linear", digests[0]))
    plane.start("--spares", "0", "--grpc-port", "0", workers=1)
    plane.settled(workers=1)
    return plane, digests


def pause_for(plane: DataPlane, share: float) -> float:
    """How long each of the clients has to wait between requests for so much of what the server can."""
    clients = {"keep": 4}
    with loaded(plane, clients) as load:
        time.sleep(2.0)
    each = 2.0 / (len(load.answers) / 4)
    return each / share - each


def held(act: Callable[[], None], processes: Processes, plane: DataPlane, figures: Figures) -> None:
    """Descriptors, threads and files after `act` are what they were before."""
    fds, threads, left = processes.fds(), processes.threads(), files(plane)
    act()
    end = time.monotonic() + 10
    while processes.fds() > fds + SLACK and time.monotonic() < end:
        time.sleep(0.1)
    figures.count("descriptors more", processes.fds() - fds, at_most=SLACK)
    figures.count("threads more", processes.threads() - threads, at_most=SLACK)
    figures.count("temporary files and shared memory more", len(files(plane) - left), at_most=SLACK)


def test_minutes_of_load_leave_nothing_behind(serving: tuple[DataPlane, list[str]], figures: Figures) -> None:
    plane, digests = serving
    processes = Processes(plane)
    samples: list[tuple[float, float]] = []
    loads: list[Load] = []
    pause_s = pause_for(plane, 0.7)
    aborting = Aborting(plane.port)

    def enough(load: Load) -> bool:
        """A slow machine takes longer for them."""
        asked = min(len(load.answers) / 5, aborting.times) >= 20 * SECONDS
        return asked and plane.number - 1 >= 0.7 * SECONDS / RELOAD_S

    def soak() -> None:
        aborting.start()
        begun = reloaded = time.monotonic()
        with loaded(plane, {"keep": 4, "grpc": 1}, pause_s=pause_s) as load:
            loads.append(load)
            while (gone := time.monotonic() - begun) < SECONDS or (gone < PATIENCE_S and not enough(load)):
                time.sleep(0.25)
                now = time.monotonic()
                if now - reloaded > RELOAD_S:
                    plane.write(route("linear", digests[plane.number % 4], version=plane.number % 4))
                    reloaded = now
                if now - begun > SETTLE_S:
                    samples.append((now, processes.mib()))
        aborting.over.set()
        aborting.join()

    held(soak, processes, plane, figures)
    growth = slope(samples)
    figures.count("answers", len(loads[0].answers), at_least=100 * SECONDS)
    figures.count("failed requests", len(loads[0].failures) + len(loads[0].lost), at_most=0)
    figures.count("clients that went away", aborting.times, at_least=20 * SECONDS)
    figures.count("reloads", plane.number - 1, at_least=0.7 * SECONDS / RELOAD_S)
    figures.note("resident MiB at the end", round(samples[-1][1], 1))
    figures.timed("resident memory's slope, MiB a minute", growth, at_most=1.0)
    print([*loads[0].failures, *loads[0].lost][:3])
    figures.hold()


def test_loads_and_unloads_leave_nothing_behind(serving: tuple[DataPlane, list[str]], figures: Figures) -> None:
    plane, digests = serving
    processes = Processes(plane)

    def reload() -> None:
        plane.write(route("linear", digests[(plane.number + 1) % 4], version=plane.number % 4))
        until(lambda: [one.snapshot for one in plane.statuses()] == [plane.number])

    for _ in range(10):
        reload()
    before = processes.mib()
    held(lambda: [reload() for _ in range(LOADS)] and None, processes, plane, figures)
    figures.count("loads and unloads", plane.number - 11, at_least=LOADS)
    figures.count("resident MiB more", round(processes.mib() - before, 1), at_most=20)
    figures.hold()


def test_refused_bodies_leave_nothing_behind(serving: tuple[DataPlane, list[str]], figures: Figures) -> None:
    """Each held megabytes when it was refused: they go with their connections, not when a collector comes by."""
    plane, _ = serving
    processes = Processes(plane)
    piece = chunk(bytes(1 << 20))
    before = processes.mib()

    def endless() -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", plane.port), timeout=10) as wire:
            try:
                wire.sendall(head)
                for _ in range(66):
                    wire.sendall(piece)
                assert b" 413 " in wire.recv(100)
            except OSError:
                pass

    held(lambda: [endless() for _ in range(BODIES)] and None, processes, plane, figures)
    time.sleep(1.5)
    figures.count("endless bodies", BODIES, at_least=4)
    figures.count("resident MiB more after endless bodies", round(processes.mib() - before, 1), at_most=20)
    figures.hold()
