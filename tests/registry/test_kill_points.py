"""The registry at every write point: killed, torn, out of space, failing disk.

The default run takes a seeded third of the points; PENSTOCK_ALL_KILL_POINTS=1 takes them all.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.registry.registry import Registry
from penstock.registry.verify import verify

HERE = Path(__file__).parent
MODES = {"k": "killed before", "t": "torn", "28": "no space", "5": "failing disk"}
FILES = {"manifest.json": b'{"a":1}' * 40, "model/model.onnx": b"\x00\x01" * 3000}
KILLED = 137
GAVE_UP = 3


class Server:
    """The fork server under the shim."""

    def __init__(self, folder: Path, shim: Path) -> None:
        self.folder = folder
        source = folder / "source"
        for name, data in FILES.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "kill_workload.py"), str(source)],
            env=os.environ | {"LD_PRELOAD": str(shim)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, name: str, **extra: str) -> tuple[Path, list[dict[str, str]], int]:
        """One run of the work: the home it left, what it acknowledged, and how it ended."""
        home, acks = self.folder / name / "home", self.folder / name / "acks"
        home.parent.mkdir()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"home": str(home), "acks": str(acks), **extra}) + "\n")
        self.process.stdin.flush()
        ended = int(self.process.stdout.readline())
        return home, [json.loads(line) for line in acks.read_text().splitlines()], ended

    def total(self) -> int:
        """How many write points the work has."""
        count = self.folder / "count"
        _, said, ended = self.run("whole", count=str(count))
        assert ended == 0
        assert len(said) == 6, "nothing may fail where nothing is injected"
        return int(count.read_text())


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None:
        reason = "the shim needs gcc: apt-get install gcc"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    built = tmp_path_factory.mktemp("shim") / "kill_points.so"
    subprocess.run([compiler, "-O2", "-w", "-shared", "-fPIC", "-o", built, HERE / "kill_points.c", "-ldl"], check=True)
    return built


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a kill loses no page, so the disk would only cost time."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


@pytest.fixture
def server(folder: Path, shim: Path) -> Iterator[Server]:
    started = Server(folder, shim)
    yield started
    assert started.process.stdin is not None
    started.process.stdin.close()
    started.process.wait(10)


def leftovers(home: Path) -> list[str]:
    return [str(path.relative_to(home)) for path in home.rglob(".tmp-*")]


def check_home(home: Path, said: list[dict[str, str]]) -> None:
    """Open what was left: all that was acknowledged is there, all that is there is whole."""
    registry = Registry.open(home)
    try:
        events = {event.seq: event.hash for event in registry.events()}
        assert registry.identity_of(registry.local_token()).roles == ("admin",)
        for ack in said:
            check_ack(registry, ack, events)
        assert not leftovers(home)
        assert {path.name for path in home.joinpath("packages").iterdir()} <= {path_of(registry)}
    finally:
        registry.close()
    Registry.open(home).close()
    found = verify(home, packages=False)
    assert found.ok, found.problems
    assert found.events == len(events), "a home that was opened once is whole"


def path_of(registry: Registry) -> str:
    names = [path.name for path in registry.home.packages.iterdir()]
    for name in names:
        kept = {str(p.relative_to(registry.home.packages / name)): p for p in registry.home.packages.rglob("*.*")}
        assert {inner: path.read_bytes() for inner, path in kept.items()} == FILES, "an artifact is there whole"
    return names[0] if names else ""


def check_ack(registry: Registry, ack: dict[str, str], events: dict[int, str]) -> None:
    if "seq" in ack:
        assert events.get(int(ack["seq"])) == ack["hash"], "an acknowledged event is lost"
    if "token" in ack:
        assert registry.local_token() == ack["token"]
    if "folder" in ack:
        assert Path(ack["folder"]).is_dir(), "an acknowledged package is lost"
    if "report" in ack:
        assert len(registry.reports.path(ack["report"], suffix=".html").read_bytes()) == 5006


@pytest.mark.timeout(3600)
def test_nothing_acknowledged_is_lost_at_any_write_point(server: Server) -> None:
    total = server.total()
    points = [(n, mode) for n in range(1, total + 1) for mode in MODES]
    if not os.environ.get("PENSTOCK_ALL_KILL_POINTS"):
        points = sorted(random.Random(20130101).sample(points, len(points) // 3))
    died = 0
    for n, mode in points:
        home, said, ended = server.run(f"{n}-{mode}", n=str(n), mode=mode)
        where = f"write point {n} of {total}, {MODES[mode]}"
        assert ended == (KILLED if mode in "kt" else 0), f"{where}: ended with {ended}"
        died += ended == KILLED
        try:
            check_home(home, said)
        except Exception as error:
            raise AssertionError(where) from error
        shutil.rmtree(home.parent)
    print(f"{total} write points, {len(points)} runs, {died} deaths, 0 losses")


@pytest.fixture
def trace(folder: Path, server: Server) -> list[str]:
    """What the kernel saw of one whole run, call by call."""
    tracer = shutil.which("strace")
    if tracer is None:
        pytest.skip("strace is not installed: apt-get install strace")
    log = folder / "strace"
    (folder / "traced").mkdir()
    run = {"home": str(folder / "traced" / "home"), "acks": str(folder / "traced" / "acks")}
    calls = "write,pwrite64,fsync,fdatasync,ftruncate,rename,link,unlink,mkdir,open,openat"
    work = [sys.executable, HERE / "kill_workload.py", folder / "source"]
    done = subprocess.run(
        [tracer, "-f", "-y", "-o", log, "-e", f"trace={calls}", *work],
        input=json.dumps(run) + "\n",
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip("this machine does not let strace trace")
    return [line for line in log.read_text().splitlines() if str(folder / "traced") in line]


def test_the_shim_sees_every_write(server: Server, trace: list[str]) -> None:
    """Its count is the kernel's own, so that no operation is missed."""
    inside = [line for line in trace if "/traced/home" in line]
    opens = [line for line in inside if re.search(r" open(at)?\(", line)]
    making = [line for line in opens if "O_CREAT" in line or "O_TRUNC" in line]
    assert len(inside) - len(opens) + len(making) == server.total()


def test_what_is_acknowledged_was_synced_before(trace: list[str]) -> None:
    """A kill keeps the kernel's cache, a power cut does not: so look at the order of the calls themselves."""
    unsynced: set[str] = set()
    acknowledged = 0
    for line in (one for one in trace if " open" not in one):
        call = re.search(r" (\w+)\((?:\d+<([^>]*)>|\"([^\"]*)\")(?:, \"([^\"]*)\")?", line)
        assert call is not None, line
        name, path, target = call[1], call[2] or call[3] or "", call[4] or ""
        if name == "write" and path.endswith("/acks"):
            acknowledged += 1
            assert not unsynced, f"acknowledged before it was on the disk: {sorted(unsynced)}"
        elif name in ("write", "pwrite64", "ftruncate") and not path.endswith(("-shm", "/lock", ".lock")):
            unsynced.add(path)
        elif name in ("fsync", "fdatasync"):
            unsynced.discard(path)
        elif name == "rename":
            unsynced.add(str(Path(target).parent))
            unsynced.discard(target)
            assert path not in unsynced, "renamed before its bytes were on the disk"
    assert acknowledged == 6
