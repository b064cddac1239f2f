"""G4: told to end, it says so at once, finishes everything it holds, and is gone when the longest of it is."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from dataplane_for_tests import Answered, DataPlane, route, until
from figures_for_tests import FULL, Figures
from packages_for_tests import linear_package, slow_package
from tests.reliability.clients_for_tests import BODY, PATH
from tests.reliability.models_for_tests import number, sleeper_package

pytestmark = pytest.mark.serial

HELD_S = (0.01, 1.0, 8.0) if FULL else (0.01, 2.0)
TIMES = 3 if FULL else 1


class Held(threading.Thread):
    """One request that is on its way when the end is told."""

    def __init__(self, plane: DataPlane, name: str, seconds: float) -> None:
        super().__init__()
        self.plane = plane
        self.path = f"/v2/models/{name}/infer"
        self.seconds = seconds
        self.answer: Answered | None = None
        self.error = ""

    def run(self) -> None:
        try:
            self.answer = self.plane.ask("POST", self.path, number(self.seconds))
        except OSError as error:
            self.error = repr(error)

    @property
    def finished(self) -> bool:
        return self.answer is not None and self.answer.status == 200


def watched_end(plane: DataPlane, held: list[Held]) -> tuple[float, float]:
    """Tell it to end; seconds until it is not ready, and until it is gone."""
    for one in held:
        one.start()
    time.sleep(0.3)
    assert plane.process is not None
    told = time.monotonic()
    plane.process.send_signal(signal.SIGTERM)
    until(lambda: plane.ask("GET", "/v2/health/ready").status == 503, seconds=5)
    not_ready_s = time.monotonic() - told
    code = plane.process.wait(30)
    gone_s = time.monotonic() - told
    for one in held:
        one.join()
    assert code == 0
    return not_ready_s, gone_s


def test_sigterm_says_not_ready_finishes_and_exits(plane_of: DataPlane, tmp_path: Path, figures: Figures) -> None:
    plane = plane_of
    # One model a request: in one queue the short one would rightly wait for the long one.
    digests = {f"held-{n}": sleeper_package(tmp_path / str(n), name=f"held-{n}") for n in range(len(HELD_S))}
    plane.packages = {digest: str(tmp_path / name.removeprefix("held-")) for name, digest in digests.items()}
    plane.write(*(route(name, digest) for name, digest in digests.items()))
    not_ready: list[float] = []
    over: list[float] = []
    held: list[Held] = []
    for _ in range(TIMES):
        plane.start(workers=1)
        plane.settled(workers=1)
        asking = [Held(plane, f"held-{n}", seconds) for n, seconds in enumerate(HELD_S)]
        told_s, gone_s = watched_end(plane, asking)
        not_ready.append(told_s)
        over.append(gone_s - max(HELD_S))
        held += asking
    print([one.error or one.answer for one in held if not one.finished])
    figures.count("in-flight requests", len(held), at_least=TIMES * len(HELD_S))
    figures.count("in-flight requests finished, %", 100 * sum(one.finished for one in held) / len(held), at_least=100)
    last = held[-1].answer
    figures.count(
        "told to ask elsewhere", int(last is not None and last.headers.get("connection") == "close"), at_least=1
    )
    logged = plane.exchanges()
    figures.count("finished and not logged", len(held) - sum(one.code == "ok" for one in logged), at_most=0)
    figures.count("files left in the run folder", len(leftovers(plane)), at_most=0)
    figures.timed("not ready after SIGTERM, s", max(not_ready), at_most=0.1)
    figures.timed("exit beyond the longest request, s", max(over), at_most=1.0)
    figures.hold()


def leftovers(plane: DataPlane) -> list[str]:
    """What says that somebody still runs."""
    found = [*(plane.run / "workers").glob("*.json"), *plane.run.glob("supervisor.json")]
    return [str(path.relative_to(plane.run)) for path in found]


def test_a_second_sigterm_ends_it_at_once(plane_of: DataPlane, tmp_path: Path, figures: Figures) -> None:
    plane = plane_of
    plane.write(route("slow", plane.add(slow_package, tmp_path / "slow", rounds=100_000)))
    # Proving takes as long as answering: the worker accepts at once, and is not ready.
    plane.start(workers=1)
    until(lambda: len(plane.statuses()) == 1)
    assert plane.process is not None
    plane.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    told = time.monotonic()
    plane.process.send_signal(signal.SIGTERM)
    assert plane.process.wait(5) == 0
    figures.timed("exit after the second SIGTERM, s", time.monotonic() - told, at_most=1.0)
    figures.hold()


def test_idle_connections_are_let_go(plane_of: DataPlane, tmp_path: Path, figures: Figures) -> None:
    """Whoever keeps a connection without asking does not delay the end."""
    plane = plane_of
    plane.write(route("linear", plane.add(linear_package, tmp_path / "p")))
    plane.start(workers=1)
    plane.settled(workers=1)
    import http.client

    connections = [http.client.HTTPConnection("127.0.0.1", plane.port, timeout=10) for _ in range(20)]
    for connection in connections:
        connection.request("POST", PATH, BODY)
        assert connection.getresponse().read()
    _, gone_s = watched_end(plane, [])
    for connection in connections:
        connection.close()
    figures.count("idle connections", len(connections), at_least=20)
    figures.timed("exit with only idle connections, s", gone_s, at_most=1.0)
    figures.hold()
