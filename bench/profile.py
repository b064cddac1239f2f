"""Where each microsecond of the request path goes: samples of our worker's stack under load, put into steps.

    server under wrk -> py-spy (stacks, native frames too) -> step of each stack -> share x CPU per request

A sample belongs to the innermost frame of ours, but for system calls and the engine, which have steps of their own.
Sampling stops the process some hundred times a second, so shares are what it gives; the CPU per request that they
are multiplied with is measured beside it, without it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from bench.environments import environment
from bench.models import make_model
from bench.places import PROFILES, ROOT, WORK
from bench.points import Spot
from bench.running import Running, setting_of
from bench.server import free_port

RATE = 250
SECONDS = 12.0
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


def profile(running: Running, spot: Spot) -> dict[str, object]:
    """CPU per request without the sampler, then what it divides into."""
    figures = running.measure(spot, SECONDS / 2)
    load = Thread(target=running.measure, args=(spot, SECONDS + 2))
    load.start()
    time.sleep(1)
    shares = shares_of(_sampled(running.server.busiest()))
    load.join()
    steps = {step: round(share * figures["cpu_us"], 2) for step, share in shares.items()}
    return {
        "spot": str(spot),
        "per_s": round(figures["per_s"]),
        "cpu_us": round(figures["cpu_us"], 1),
        "steps_us": steps,
    }


def _sampled(pid: int) -> str:
    with TemporaryDirectory(prefix="profile-") as folder:
        raw = Path(folder) / "stacks"
        command = [str(environment("py_spy") / "bin" / "py-spy"), "record", "--native", "--format", "raw"]
        command += ["--rate", str(RATE), "--duration", f"{SECONDS:g}", "--pid", str(pid), "--output", str(raw)]
        subprocess.run(command, capture_output=True, check=True)
        return raw.read_text()


def main() -> int:
    """Write one profile; `--name before` and `--name after` are what the documents show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--name", required=True, help="of the file in profiles/")
    parser.add_argument("--source", type=Path, default=ROOT, help="another checkout, to profile its wheel")
    given = parser.parse_args()
    source = given.source.resolve()
    asked = ["git", "-C", str(source), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False)
    with TemporaryDirectory(prefix="profile-", dir=WORK) as folder:
        model = make_model("trees")
        setting = setting_of("penstock", model, scratch=Path(folder), port=free_port(), workers=1, source=source)
        running = Running("penstock", setting)
        running.start()
        try:
            running.check("v2")
            found = [profile(running, spot) for spot in SPOTS]
        finally:
            running.stop()
    PROFILES.mkdir(exist_ok=True)
    text = json.dumps({"commit": commit.stdout.strip(), "profiles": found}, indent=1)
    (PROFILES / f"{given.name}.json").write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
