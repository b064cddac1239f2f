"""The settings that are tried: how many processes and threads, and how runs are formed.

engine + usable processors --grid--> Setting, ...        Setting --limits_with--> Limits of a release
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from penstock.records import Batching, Limits, Record, Sizing

SANDBOXED = "python"
"""The engine whose models run in a process of their own."""


class Setting(Record, frozen=True, kw_only=True):
    """One way to serve an endpoint."""

    sizing: Sizing = Sizing(workers=1)
    batching: Batching = Batching()

    @property
    def cost(self) -> tuple[int, int, float, int]:
        """What it takes, to choose the least among equals: processes, threads, delay, and how much is laid down.

        What is left open follows what is measured while it serves.
        """
        processes, batching = self.sizing.workers * self.batching.processes, self.batching
        laid_down = (batching.mode != "auto") + 2 * bool(batching.rows)
        return processes, processes * self.sizing.threads, batching.delay_s, laid_down

    @property
    def most_cpus(self) -> int:
        """Processors that it surely can use at one time; what a run gains by threads is the model's matter."""
        return self.sizing.workers * self.batching.processes

    @property
    def label(self) -> str:
        """As people read it: ``2 workers, inline``."""
        sizing, batching = self.sizing, self.batching
        words = [_counted(sizing.workers, "worker")]
        if sizing.threads > 1:
            words.append(f"{sizing.threads} threads a run")
        if batching.processes > 1:
            words.append(f"{batching.processes} processes each")
        if batching.mode != "auto":
            words.append({"inline": "inline", "thread": "on a thread"}[batching.mode])
        if batching.rows == 1:
            words.append("no batches")
        elif batching.rows:
            words.append(f"batches of {batching.rows}")
        if batching.delay_s:
            words.append(f"{1000 * batching.delay_s:g} ms delay")
        return ", ".join(words)


def limits_with(limits: Limits, setting: Setting) -> Limits:
    """A release's limits with a setting in them; how long requests may wait, and on what they run, stay."""
    return replace(
        limits,
        sizing=replace(setting.sizing, providers=limits.sizing.providers, allow_cpu=limits.sizing.allow_cpu),
        batching=replace(setting.batching, wait_s=limits.batching.wait_s),
    )


def setting_of(limits: Limits, workers: int) -> Setting:
    """The setting that limits come to on a data plane with so many workers of its own."""
    sizing = Sizing(threads=limits.sizing.threads, workers=limits.sizing.workers or workers)
    return Setting(sizing=sizing, batching=replace(limits.batching, wait_s=Batching().wait_s))


def grid(engine: str, cpus: int, p99_s: float) -> tuple[Setting, ...]:
    """Every setting worth trying.

    Args:
        engine: Name in the adapters' ``engine`` table.
        cpus: Usable ones; no setting runs more than that at one time.
        p99_s: The latency to keep: no delay longer than a quarter of it is worth trying.
    """
    found = _sandboxed(cpus, p99_s) if engine == SANDBOXED else _compiled(cpus, p99_s)
    return tuple(dict.fromkeys(found))


def _compiled(cpus: int, p99_s: float) -> Iterator[Setting]:
    """Graphs in the worker itself: on the loop or beside it, alone or together."""
    for workers in _powers(cpus):
        for threads in _powers(cpus // workers):
            sizing = Sizing(workers=workers, threads=threads)
            yield Setting(sizing=sizing, batching=Batching(mode="inline"))
            yield Setting(sizing=sizing, batching=Batching(mode="inline", rows=1))
            yield Setting(sizing=sizing, batching=Batching(mode="thread"))
            yield Setting(sizing=sizing, batching=Batching(mode="thread", rows=1))
            for delay_s in _delays((0.002,), p99_s):
                yield Setting(sizing=sizing, batching=Batching(mode="thread", delay_s=delay_s))


def _sandboxed(cpus: int, p99_s: float) -> Iterator[Setting]:
    """Models in processes of their own: the hop is dear, so batches gain more."""
    for workers in _powers(cpus):
        for processes in _powers(max(cpus // workers, 1)):
            sizing = Sizing(workers=workers)
            yield Setting(sizing=sizing, batching=Batching(processes=processes))
            yield Setting(sizing=sizing, batching=Batching(processes=processes, rows=1))
            for delay_s in _delays((0.002, 0.01), p99_s):
                yield Setting(sizing=sizing, batching=Batching(processes=processes, delay_s=delay_s))


def _powers(most: int) -> list[int]:
    """1, 2, 4, ... and `most` itself."""
    found = [1]
    while found[-1] * 2 <= most:
        found.append(found[-1] * 2)
    return found if found[-1] >= most else [*found, most]


def _delays(wanted: tuple[float, ...], p99_s: float) -> list[float]:
    return [delay_s for delay_s in wanted if delay_s <= p99_s / 4]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
