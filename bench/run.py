"""`make bench`: the rounds.

    points -> stages -> environments, servers up, every answer checked -> rounds over all spots -> results/TIME.jsonl

Within a stage all servers are up and every round visits every spot, so that whatever else the machine does hits all
alike. A server's whole process tree has one CPU and the load another; with two workers nothing is pinned.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.capture import measure_capture
from bench.environments import installed_mib
from bench.load import missing_tools
from bench.models import make_model
from bench.places import RESULTS, ROOT, WORK
from bench.plot import lines
from bench.points import CLAIMS, STAGES, Claim, Figure, Spot, spots_of, stages_of
from bench.ratios import Samples
from bench.running import Running, setting_of
from bench.server import free_port
from bench.systems import SYSTEMS
from bench.table import claims_table, rate_bars

STARTS = 5
CAPTURE_S = 60.0
WARM_S = 1.0
PAIRED = 8
"""Rounds more for spots whose difference is claimed."""


class Options(NamedTuple):
    """How long, how often, and of which tree."""

    rounds: int
    seconds: float
    source: Path
    only: frozenset[str]


class Record:
    """The run's file: one JSON object a line, there as soon as it is known."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.lines: list[dict[str, object]] = []

    def add(self, kind: str, **fields: object) -> None:
        """Append one line."""
        self.lines.append({"kind": kind, **fields})
        with self.path.open("a") as file:
            file.write(json.dumps(self.lines[-1]) + "\n")


def run_stage(name: str, claims: list[Claim], record: Record, options: Options) -> None:
    """Start its servers, measure every spot in every round, stop them."""
    spots = [spot for spot in spots_of(name, claims) if not options.only or spot.system in options.only]
    stage = STAGES[name]
    say(f"{name}: {stage.what}")
    with TemporaryDirectory(prefix="stage-", dir=WORK) as folder:
        up: dict[str, Running] = {}
        try:
            for system in dict.fromkeys(spot.system for spot in spots):
                asked = list(dict.fromkeys(spot.traffic for spot in spots if spot.system == system))
                running = bring_up(name, system, asked, record, options, Path(folder))
                if running is not None:
                    up[system] = running
            there = [spot for spot in spots if spot.system in up]
            for number in range(options.rounds):
                # Each round starts with another spot, so that nobody is always first.
                turned = there[number % len(there) :] + there[: number % len(there)] if there else []
                for spot in turned:
                    sample(name, number, spot, up[spot.system], record, options.seconds)
            for number, spot in again(name, claims, options.rounds):
                if spot.system in up:
                    sample(name, number, spot, up[spot.system], record, options.seconds)
        finally:
            for running in up.values():
                running.stop()


def again(stage: str, claims: list[Claim], rounds: int) -> list[tuple[int, Spot]]:
    """Rounds of their own for a difference of two spots: one right after the other, and each as often the first.

    Both are some ten times what they differ by, so that a drift between them would be all that one sees.
    """
    pairs = [(claim.ours, *claim.theirs) for claim in claims if claim.stage == stage and claim.figure is Figure.ADDED]
    return [
        (rounds + number, spot)
        for pair in pairs
        for number in range(PAIRED)
        for spot in (pair if number % 2 else reversed(pair))
    ]


def bring_up(stage: str, name: str, asked: list[str], record: Record, options: Options, folder: Path) -> Running | None:
    """A server that answers right, or None and the reason in the record."""
    running: Running | None = None
    try:
        lacking = [tool for tool in SYSTEMS[name].needs if shutil.which(tool) is None]
        if lacking:
            raise RuntimeError(f"there is no {lacking[0]} on this machine")
        model = make_model(STAGES[stage].model)
        setting = setting_of(
            name, model, scratch=folder, port=free_port(), workers=STAGES[stage].workers, source=options.source
        )
        running = Running(name, setting)
        running.start()
        if running.system.kind == "server":
            for traffic in asked:
                running.check(traffic)
                running.measure(Spot(name, traffic, 4), WARM_S)
    except (RuntimeError, OSError) as error:
        say(f"  {name}: left out: {error}")
        record.add("skip", stage=stage, system=name, reason=str(error))
        if running is not None:
            running.stop()
        return None
    say(f"  {name}: right")
    return running


def sample(stage: str, number: int, spot: Spot, running: Running, record: Record, seconds: float) -> None:
    """One spot in one round; a system that breaks under it voids its points."""
    place = {"stage": stage, "round": number, "system": spot.system, "spot": str(spot)}
    try:
        figures = running.measure(spot, seconds)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        say(f"  round {number + 1}  {spot!s:32} BROKE: {error}")
        record.add("sample", **place, failed=1)
        return
    record.add("sample", **place, **figures)
    bad = figures.get("failed", 0) + figures.get("wrong", 0)
    latency = f"p50 {figures['p50_ms']:.2f} p99 {figures['p99_ms']:.2f} ms" if "p50_ms" in figures else ""
    rate = f"{figures['per_s']:9.0f}/s  {figures['cpu_us']:8.1f} us CPU"
    say(f"  round {number + 1}  {spot!s:32} {rate}  {latency}{f'  {bad:.0f} BAD' if bad else ''}")


def run_starts(claims: list[Claim], record: Record, options: Options) -> None:
    """Cold start, memory after a short load, idle CPU, installed size; one server at a time."""
    say(f"start: {STAGES['start'].what}")
    claimed = {spot for claim in claims for spot in (claim.ours, *claim.theirs)}
    for number in range(STARTS):
        for spot in spots_of("start", claims):
            if number and spot not in claimed:
                continue  # once will do for the whole picture
            try:
                figures = one_start(spot, options)
            except (RuntimeError, OSError) as error:
                say(f"  {spot.system}: left out: {error}")
                record.add("skip", stage="start", system=spot.system, reason=str(error))
                continue
            record.add("sample", stage="start", round=number, system=spot.system, spot=str(spot), **figures)
            say(f"  start {number + 1}  {spot.system:20} " + "  ".join(f"{k} {v:.2f}" for k, v in figures.items()))


def one_start(spot: Spot, options: Options) -> dict[str, float]:
    """Start, ask until right, load it for a moment, let it rest, end it."""
    with TemporaryDirectory(prefix="start-", dir=WORK) as folder:
        setting = setting_of(
            spot.system, make_model("trees"), scratch=Path(folder), port=free_port(), workers=1, source=options.source
        )
        running = Running(spot.system, setting)
        running.traffic(spot.traffic)  # made before the clock starts
        running.start()
        try:
            start_s = running.check(spot.traffic)
            running.measure(Spot(spot.system, spot.traffic, 4), WARM_S)
            sizes = {"size_mib": installed_mib(setting.environment), "import_s": running.import_s()}
            return {"start_s": start_s, **running.rest(), **sizes}
        finally:
            running.stop()


def run_capture(claims: list[Claim], record: Record, options: Options) -> None:
    """A paced load of a minute, once."""
    say(f"capture: {STAGES['capture'].what}")
    (spot,) = spots_of("capture", claims)
    with TemporaryDirectory(prefix="capture-", dir=WORK) as folder:
        running = bring_up("capture", spot.system, [spot.traffic], record, options, Path(folder))
        if running is None:
            return
        try:
            figures = measure_capture(running, spot.traffic, Path(folder) / spot.system / "log", seconds=CAPTURE_S)
        except (RuntimeError, OSError) as error:
            say(f"  {spot.system}: left out: {error}")
            record.add("skip", stage="capture", system=spot.system, reason=str(error))
            return
        finally:
            running.stop()
        record.add("sample", stage="capture", round=0, system=spot.system, spot=str(spot), **figures)
        say("  " + "  ".join(f"{name} {value:.1f}" for name, value in figures.items()))


def chosen(options: argparse.Namespace) -> list[Claim]:
    """The claims that were asked for."""
    points = set(options.points.split(",")) if options.points else set()
    return [claim for claim in CLAIMS if (claim.point in points if points else options.all or claim.reference)]


def describe() -> dict[str, object]:
    """The machine in words, and the versions that matter to everybody."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    machine = f"{len(names)} CPUs ({names[0] if names else platform.machine()}), {pages / 2**30:.0f} GiB"
    libraries = {name: version(name) for name in ("onnxruntime", "numpy", "scikit-learn")}
    return {"machine": machine, "python": platform.python_version(), "load": os.getloadavg()[0], **libraries}


def say(line: str) -> None:
    """Progress."""
    print(line, flush=True)


def main() -> int:
    """Run; 1 where a tool is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", default="", help="such as P1,P3; the reference set where not given")
    parser.add_argument("--all", action="store_true", help="every peer")
    parser.add_argument("--systems", default="", help="measure only these, such as penstock,fastapi")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--source", type=Path, default=ROOT, help="another checkout, to measure its wheel as ours")
    parser.add_argument("--json", type=Path, default=None, help="file of this run's samples")
    given = parser.parse_args()
    claims = chosen(given)
    grpc = any(claim.stage == "grpc" for claim in claims)
    install = missing_tools(["wrk", "taskset", *(["h2load"] if grpc else [])])
    if install:
        print(f"the load generators are missing: {install}", file=sys.stderr)
        return 1
    WORK.mkdir(parents=True, exist_ok=True)
    record = Record(given.json or RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.jsonl")
    record.add("run", at=time.time(), points=[claim.point for claim in claims], **describe())
    only = frozenset(given.systems.split(",")) if given.systems else frozenset()
    options = Options(given.rounds, given.seconds, given.source.resolve(), only)
    for stage in stages_of(claims):
        if stage == "start":
            run_starts(claims, record, options)
        elif stage == "capture":
            run_capture(claims, record, options)
        else:
            run_stage(stage, claims, record, options)
    record.add("end", at=time.time())
    samples = Samples(record.lines)
    print(f"\n{claims_table(claims, [samples])}\n")
    bars = rate_bars(samples)
    if bars:
        print(f"requests per CPU second at 16 connections, multiples of FastAPI's, logarithmic\n{lines(bars)}\n")
    print(f"samples: {record.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
