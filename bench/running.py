"""One system in one stage: started, asked until right, measured spot by spot, stopped.

System + Setting -> command, variables -> Server -> Traffic checked -> samples
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from bench.dialects import TRAFFIC
from bench.environments import environment
from bench.layouts import Setting
from bench.load import Plan, generate
from bench.models import Model
from bench.places import LIMITS, PEERS, ROOT
from bench.points import Spot
from bench.server import SERVER_CPU, Launch, Server
from bench.systems import SYSTEMS, System
from bench.traffic import Traffic
from bench.witness import Witness

Figures = dict[str, float]
IDLE_S = 5.0
CLEAN = ("_proxy", "PYTHONPATH", "PYTHONHOME")


class Running:
    """A system that is up; a loop is only ever up while it is measured."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.system: System = SYSTEMS[name]
        self._setting = setting
        self._words = _words(setting)
        self._traffic: dict[str, Traffic] = {}
        self._server: Server | None = None

    def start(self) -> None:
        """Write what it wants, and start it."""
        if self.system.prepare is not None:
            self.system.prepare(self._setting)
        if self.system.kind == "server":
            scratch = self._setting.scratch
            launch = Launch(
                self._command(), self._variables(), scratch, scratch / "server.log", self._setting.workers == 1
            )
            self._server = Server(launch, self._setting.port + self.system.port_after)

    def check(self, traffic: str) -> float:
        """Seconds from its start to its first right answer; then many rows are asked.

        Raises:
            RuntimeError: It does not answer right.
        """
        taken = self.server.wait_until_right(self.traffic(traffic))
        self.server.check(self.traffic(traffic))
        return taken

    @property
    def pinned(self) -> bool:
        """Whether server and load have a CPU each; with more than one worker both have all."""
        return self._setting.workers == 1

    @property
    def server(self) -> Server:
        """The process; only of a started server."""
        assert self._server is not None
        return self._server

    def traffic(self, name: str) -> Traffic:
        """What it is asked, with its own path and headers."""
        if name not in self._traffic:
            made = TRAFFIC[name](self._setting.model)
            path = self.system.paths.get(name, made.path)
            self._traffic[name] = made._replace(path=path, headers={**made.headers, **self.system.headers})
        return self._traffic[name]

    def measure(self, spot: Spot, seconds: float) -> Figures:
        """One round's figures of one spot."""
        if self.system.kind == "loop":
            return self._loop(seconds)
        traffic, server = self.traffic(spot.traffic), self.server
        plan = Plan(spot.connections, seconds, self.pinned)
        before = server.cpu_s()
        with Witness(server.port, traffic, pinned=self.pinned) as witness:
            load = generate(server.port, traffic, plan, self._setting.scratch)
        spent_s = server.cpu_s() - before
        return {
            "per_s": load.answered / load.seconds,
            "cpu_us": spent_s / max(load.answered + witness.checked, 1) * 1e6,
            "p50_ms": load.p50_ms,
            "p99_ms": load.p99_ms,
            "answered": load.answered,
            "failed": load.failed,
            "checked": witness.checked,
            "wrong": len(witness.faults),
        }

    def rest(self) -> Figures:
        """Memory, and CPU while nobody asks, in per cent of one CPU."""
        before = self.server.cpu_s()
        time.sleep(IDLE_S)
        return {"pss_mib": self.server.pss_mib(), "idle_pct": (self.server.cpu_s() - before) / IDLE_S * 100}

    def import_s(self) -> float:
        """Seconds until its libraries are imported, the interpreter's own start included; 0 where it is no Python."""
        if not self.system.imports:
            return 0.0
        command = [str(self._setting.environment / "bin" / "python"), "-c", f"import {self.system.imports}"]
        started = time.perf_counter()
        subprocess.run(command, env=self._variables(), capture_output=True, check=True)
        return time.perf_counter() - started

    def stop(self) -> None:
        """End it; harmless where it never started."""
        if self._server is not None:
            self._server.stop()

    def _loop(self, seconds: float) -> Figures:
        command = ["taskset", "-c", str(SERVER_CPU), *self._command(), str(seconds)]
        done = subprocess.run(command, env=self._variables(), capture_output=True, text=True, check=False)
        numbers = done.stdout.partition("RESULT ")[2].split()
        if len(numbers) != 3:
            raise RuntimeError(done.stderr.strip()[-400:])
        calls, cpu_s, wall_s = map(float, numbers)
        return {"per_s": calls / wall_s, "cpu_us": cpu_s / calls * 1e6}

    def _command(self) -> list[str]:
        return [word.format(**self._words) for word in self.system.command.split()]

    def _variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith(CLEAN)}
        place, model = self._setting.environment, self._setting.model
        kept["PATH"] = f"{place / 'bin'}:{kept['PATH']}"
        kept |= {"VIRTUAL_ENV": str(place), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        kept |= {"BENCH_MODEL": str(model.onnx), "BENCH_WORKERS": str(self._setting.workers)}
        kept |= {"BENCH_SITE": str(self._setting.site), "BENCH_SCRATCH": str(self._setting.scratch)}
        kept["BENCH_PEERS"] = str(PEERS)
        return kept | {name: value.format(**self._words) for name, value in self.system.variables.items()}


def setting_of(name: str, model: Model, *, scratch: Path, port: int, workers: int, source: Path = ROOT) -> Setting:
    """Where and for what a system runs; makes its environment.

    Raises:
        RuntimeError: It cannot be installed.
    """
    folder = scratch / name
    folder.mkdir(parents=True)
    return Setting(model, environment(SYSTEMS[name].environment, source), folder, port, workers)


def _words(setting: Setting) -> dict[str, str]:
    model = setting.model
    folder = model.joblib.parent
    return {
        "port": str(setting.port),
        "port1": str(setting.port + 1),
        "workers": str(setting.workers),
        "bin": str(setting.environment / "bin"),
        "peers": str(PEERS),
        "limits": str(LIMITS),
        "scratch": str(setting.scratch),
        "site": str(setting.site),
        "triton": str(setting.triton),
        "package": str(model.package.folder),
        "keys": str(folder.parent / "keys" / "package.pub"),
        "joblib": str(model.joblib),
        "rows": str(folder / "rows.npy"),
    }
