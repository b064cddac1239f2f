"""Where each microsecond of the request path goes, before it was rebuilt and after: stacks of our worker under load.

    a commit's wheel, today's wheel -> servers, in turn under wrk -> py-spy (stacks, native frames too)
    -> step of each stack -> share x CPU per request -> profiles/before.json, profiles/after.json

    python -m bench.profile

A sample belongs to the innermost frame of ours, but for system calls and the engine, which have steps of their own.
Sampling stops the process some hundred times a second, so shares are what it gives; the CPU per request that they
are multiplied with is measured beside it, without it. Both servers are up at once and are measured in turn, so that
one machine's pace is behind both columns.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread

from bench.environments import environment
from bench.models import make_model
from bench.places import PROFILES, ROOT, WORK
from bench.points import Spot
from bench.running import Running, setting_of
from bench.server import free_port

BEFORE = "3b45ded"
"""The last commit before the request path was rebuilt."""
SYSTEM = {"before": "penstock_before", "after": "penstock"}
RATE = 250
SECONDS = 12.0
ROUNDS = 3
ROUND_S = 4.0
SPOTS = (Spot("penstock", "v2", 16), Spot("penstock", "v2", 1))
WRITES = frozenset({"write", "writev", "send", "sendto", "sendmsg"})
READS = frozenset({"read", "readv", "recv", "recvfrom", "recvmsg"})
WAITS = frozenset({"epoll_wait", "epoll_pwait"})
FRAME = re.compile(r"(.+) \((.+?)(?::\d+)?\)$")
OURS = re.compile(r"penstock/(.+)\.py$")
WAITING = "waiting for requests"
LOOP = "event loop (uvloop, asyncio)"
STEPS: tuple[tuple[str, str], ...] = (
    (r"serve/(protocols|rowcodecs)/.*:.*(encode|answer|text|raw|place|output|literal)", "encode the answer"),
    (r"serve/rowcodec:values", "encode the answer"),
    (r"serve/(protocols/|rowcodec|stacking|tensordata|infer)", "decode the body"),
    (r"tensors", "conform to the signature"),
    (r"serve/recorder|log/|serve/visit:.*(exchange|columns)|serve/express:.*(keep|capture)", "inference log"),
    (r"serve/(meters|metered)", "metrics"),
    (r"serve/board|access/", "authorize"),
    (r"serve/router", "choose the variant"),
    (r"serve/(batcher|lane|instances|queue|pace)|runtime/", "batch, hand to the engine"),
    (r"serve/listeners/|serve/turn", "HTTP"),
    (r"serve/", "the flow between the steps"),
)
"""Pattern over ``file:function`` of our innermost frame, and what that is; the first that fits."""


def step_of(stack: list[str]) -> str:
    """The step that a stack, root first, was sampled in."""
    frames = [found.groups() for found in map(FRAME.match, stack) if found]
    leaf = frames[-1][0] if frames else ""
    inner = next((f"{ours[1]}:{name}" for name, file in reversed(frames) if (ours := OURS.search(file))), "")
    logging = inner.startswith(("log/", "serve/recorder"))
    if leaf in WRITES:
        return "inference log: write" if logging else "socket write"
    if leaf in READS:
        return "socket read"
    if leaf in WAITS:
        return WAITING
    if any("onnxruntime" in file for _, file in frames):
        return "ONNX Runtime"
    if any("json_decode" in name for name, _ in frames):
        return "decode the body"  # msgspec's own code
    return next((step for pattern, step in STEPS if re.match(pattern, inner)), LOOP)


def shares_of(stacks: str) -> dict[str, float]:
    """Share of the main thread's samples by step, largest first; one stack and its count a line."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        if "_bootstrap" not in stack:  # other threads wait
            counts[step_of(stack.split(";"))] += int(count)
    # On a busy machine it may be ready to run and does not: that is no CPU.
    del counts[WAITING]
    total = max(sum(counts.values()), 1)
    return {step: count / total for step, count in counts.most_common()}


def profiles(servers: dict[str, Running], spot: Spot) -> dict[str, dict[str, object]]:
    """Of each server, its CPU per request without the sampler, then what it divides into."""
    # In turn, so that whatever else runs slows them alike.
    rounds = [{name: running.measure(spot, ROUND_S) for name, running in servers.items()} for _ in range(ROUNDS)]
    found: dict[str, dict[str, object]] = {}
    for name, running in servers.items():
        cpu_us = median(one[name]["cpu_us"] for one in rounds)
        found[name] = {
            "spot": str(spot),
            "per_s": round(median(one[name]["per_s"] for one in rounds)),
            "cpu_us": round(cpu_us, 1),
            "steps_us": {step: round(share * cpu_us, 2) for step, share in _shares(running, spot).items()},
        }
    return found


def _shares(running: Running, spot: Spot) -> dict[str, float]:
    load = Thread(target=running.measure, args=(spot, SECONDS + 2))
    load.start()
    time.sleep(1)
    try:
        return shares_of(_sampled(running.server.busiest()))
    finally:
        load.join()


def _sampled(pid: int) -> str:
    with TemporaryDirectory(prefix="profile-") as folder:
        raw = Path(folder) / "stacks"
        command = [str(environment("py_spy") / "bin" / "py-spy"), "record", "--native", "--format", "raw"]
        command += ["--rate", str(RATE), "--duration", f"{SECONDS:g}", "--pid", str(pid), "--output", str(raw)]
        subprocess.run(command, capture_output=True, check=True)
        return raw.read_text()


@contextmanager
def _started(sources: dict[str, Path]) -> Iterator[dict[str, Running]]:
    """Servers of the wheels of some source trees, each right before it is measured."""
    model = make_model("trees")
    servers: dict[str, Running] = {}
    with TemporaryDirectory(prefix="profile-", dir=WORK) as folder:
        try:
            for name, source in sources.items():
                scratch, port = Path(folder) / name, free_port()
                setting = setting_of(SYSTEM[name], model, scratch=scratch, port=port, workers=1, source=source)
                servers[name] = Running(SYSTEM[name], setting)
                servers[name].start()
                servers[name].check("v2")
            yield servers
        finally:
            for running in servers.values():
                running.stop()


def _checked_out(commit: str) -> Path:
    """A commit's tree beside this one.

    Raises:
        CalledProcessError: The history here does not go back so far.
    """
    tree = WORK / f"source-{commit}"
    if not tree.exists():
        packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True).stdout
        with TemporaryDirectory(prefix="source-", dir=WORK) as folder, tarfile.open(fileobj=BytesIO(packed)) as held:
            held.extractall(Path(folder) / "tree", filter="data")
            (Path(folder) / "tree").replace(tree)
    return tree


def _today() -> str:
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def main() -> int:
    """Write both profiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", default=BEFORE, help="the commit that today's tree is held against")
    given = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    sources = {"before": _checked_out(given.before), "after": ROOT}
    commits = {"before": given.before, "after": _today()}
    with _started(sources) as servers:
        spots = [profiles(servers, spot) for spot in SPOTS]
    PROFILES.mkdir(exist_ok=True)
    for name in sources:
        text = json.dumps({"commit": commits[name], "profiles": [one[name] for one in spots]}, indent=1)
        (PROFILES / f"{name}.json").write_text(text + "\n")
        print(name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
