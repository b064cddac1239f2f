"""Traffic without retries, and a look at the processes behind it, for journeys on a real home."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from penstock.serve.snapshots import FILE

ROW = {"age": 42, "income": 30.5, "plan": "basic"}
DATATYPES = {int: "INT64", float: "FP64", str: "BYTES"}


def body_of(row: dict[str, int | float | str]) -> bytes:
    """One row in the Open Inference Protocol."""
    inputs = [
        {"name": name, "datatype": DATATYPES[type(value)], "shape": [1], "data": [value]} for name, value in row.items()
    ]
    return json.dumps({"inputs": inputs}).encode()


class Client(threading.Thread):
    """Asks again and again and never twice for the same answer: what fails is kept."""

    def __init__(
        self, url: str, endpoint: str, row: dict[str, int | float | str], *, keep: bool, pause_s: float = 0.0
    ) -> None:
        super().__init__(daemon=True)
        place = urlsplit(url)
        self.place = (place.hostname or "", place.port)
        self.path = f"/v2/models/{endpoint}/infer"
        self.row = body_of(row)
        self.keep = keep
        self.pause_s = pause_s
        self.over = threading.Event()
        self.failed: list[str] = []
        self.ids: list[str] = []
        self.versions: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.longest_s = 0.0

    def run(self) -> None:
        connection = None
        while not self.over.is_set():
            started = time.monotonic()
            connection = connection or http.client.HTTPConnection(*self.place, timeout=30)
            try:
                self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
                connection = None
            self.longest_s = max(self.longest_s, time.monotonic() - started)
            if connection is not None and not self.keep:
                connection.close()
                connection = None
            time.sleep(self.pause_s)

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", self.path, self.row)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            self.failed.append(f"{answer.status} {text.decode()}")
            return
        self.ids.append(answer.headers["x-prediction-id"])
        self.versions[answer.headers["x-model-version"]] += 1
        self.answers[json.dumps(json.loads(text)["outputs"])] += 1


@contextmanager
def traffic(
    url: str, endpoint: str, row: dict[str, int | float | str] = ROW, *, pause_s: float = 0.0
) -> Iterator[list[Client]]:
    """Two clients that keep their connection and one that never does, until the block ends."""
    clients = [Client(url, endpoint, row, keep=keep, pause_s=pause_s) for keep in (True, True, False)]
    for client in clients:
        client.start()
    try:
        until(lambda: all(client.ids or client.failed for client in clients))
        yield clients
    finally:
        for client in clients:
            client.over.set()
        for client in clients:
            client.join(40)


def children(pid: int) -> list[int]:
    """Processes a process started and has not buried, oldest first."""
    # The kernel's own list of a thread's children may leave some out while they come and go.
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _stat(int(path.name))[1:2] == [str(pid)]]
    return sorted((one for one in found if is_running(one)), key=started_at)


def started_at(pid: int) -> int:
    """In clock ticks since the machine started; 0 when it is gone."""
    return int(_stat(pid)[19]) if _stat(pid) else 0


def is_running(pid: int) -> bool:
    """Neither gone nor a body that nobody buried."""
    return _stat(pid)[:1] not in ([], ["Z"])


def resident_mib(pid: int) -> float:
    """Memory that is the process's own, shared pages left out."""
    words = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(words[1]) - int(words[2])) * 4096 / 2**20


def descriptors(pid: int) -> int:
    """How many files and sockets it holds open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def note(home: Path, name: str) -> dict:
    """What a process wrote of itself into the run folder."""
    return json.loads((home / "run" / name).read_bytes())


def workers(home: Path) -> list[int]:
    """Process ids of the workers that answer."""
    return [json.loads(path.read_bytes())["pid"] for path in sorted((home / "run" / "workers").glob("[0-9]*.json"))]


def snapshot_number(home: Path) -> int:
    """The newest snapshot's number."""
    return int(note(home, FILE)["number"])


def until(condition: Callable[[], bool], *, seconds: float = 90.0) -> None:
    """Wait for something that must come; the time is a busy machine's."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
