"""A model in the sandbox, driven from the event loop: no thread between a request and the process that answers it.

    run -> a seat that is free: engine.ask -> its socket is readable: engine.hear -> results
             `- what ends in any other way: a thread of the seat's, where waiting is allowed

A seat is one process of the model. What is unusual (a death, a hang, a process that has to be started) takes the
blocking way of `penstock.runtime.engines.python`, with the same guarantees. A run that nobody waits for any more is
asked to stop, so that the next one need not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import cast

from penstock.errors import PenstockError
from penstock.records import Batching
from penstock.runtime.engine import Engine, RemoteEngine
from penstock.runtime.sandboxedmodel import SandboxedModel
from penstock.serve.batcher import Runner, checked, split, stacked
from penstock.serve.lane import Job, Result, gone, time_left
from penstock.serve.pace import Pace
from penstock.serve.queued import BatchRun, QueuedLane

_DIED = (EOFError, ValueError, OSError)
_LOG = logging.getLogger("penstock.serve")


class Seat:
    """One process of the model.

    Attributes:
        process: The one whose socket the loop hears; None while it hears none.
        run: What it works on; None while it is free.
        waiting: Pieces of work that its thread has.
        stopped: Its run was asked to stop.
    """

    __slots__ = ("engine", "number", "process", "run", "runner", "stopped", "thread", "waiting")

    def __init__(self, engine: RemoteEngine, *, batchable: bool) -> None:
        self.engine = engine
        self.runner = Runner(engine, batchable=batchable)
        self.thread = ThreadPoolExecutor(1, "sandbox")
        self.process: SandboxedModel | None = None
        self.number = -1
        self.run: BatchRun | None = None
        self.waiting = 0
        self.stopped = False


class SandboxLane(QueuedLane):
    """Runs batches in as many processes as it has seats."""

    def __init__(self, engine: Engine, *, batchable: bool, pace: Pace) -> None:
        super().__init__(engine, batchable=batchable, pace=pace)
        self._remote = cast("RemoteEngine", engine)
        self._batchable = batchable
        self._seats = [Seat(self._remote, batchable=batchable)]
        self._opening = False
        self._listen(self._seats[0], self._remote.idle())

    def settle(self, batching: Batching) -> None:
        """Go by other settings from now on; further processes are started beside the traffic, others ended."""
        super().settle(batching)
        for seat in self._seats:
            seat.engine.timeout_s = batching.hang_s or seat.engine.timeout_s
        if len(self._seats) < batching.processes and not self._opening:
            self._opening = True
            self._loop.run_in_executor(None, self._remote.twin).add_done_callback(self._opened)
        for seat in self._seats[max(batching.processes, 1) :]:
            if seat.run is None and not seat.waiting:
                self._seats.remove(seat)
                self._leave(seat, seat.engine.leave)

    def processes(self) -> list[int]:
        """Process ids of the seats; 0 where one is being replaced."""
        found = (seat.engine.idle() or seat.process for seat in self._seats)
        return [process.pid if process is not None else 0 for process in found]

    def trouble(self) -> str:
        """Why it does not answer just now; empty when it does."""
        return self._remote.resting()

    def _opened(self, opening: asyncio.Future[RemoteEngine]) -> None:
        """Another process is there; or it could not be had, and those that are go on."""
        self._opening = False
        if opening.cancelled() or opening.exception() is not None:
            _LOG.warning("no further process of a model: %s", opening.cancelled() or opening.exception())
            return
        seat = Seat(opening.result(), batchable=self._batchable)
        if not self._seats:
            self._leave(seat, seat.engine.leave)
            return
        self._seats.append(seat)
        self._listen(seat, seat.engine.idle())
        self.settle(self._batching)
        self._turn()

    # -- runs

    def _engines(self) -> int:
        return len(self._seats)

    def _left_s(self, run: BatchRun, now: float) -> float:
        """A process that is being replaced is soon there: who comes meanwhile waits for it."""
        replaced = any(seat.run is run and seat.waiting for seat in self._seats)
        return run.expected_s if replaced else super()._left_s(run, now)

    def _start(self, run: BatchRun) -> None:
        seat = next(one for one in self._seats if one.run is None)
        seat.run, seat.stopped = run, False
        jobs = run.jobs
        process = None
        if not seat.waiting:
            process = seat.engine.ask(stacked(jobs) if len(jobs) > 1 else jobs[0].arrays)
        if process is None:
            self._in_thread(seat, lambda: seat.runner.run(jobs))
            return
        self._listen(seat, process)
        if process.unsent:
            self._loop.add_writer(seat.number, self._send_more, seat, process)

    def _send_more(self, seat: Seat, process: SandboxedModel) -> None:
        """The socket has room again."""
        try:
            done = process.go_on()
        except OSError:
            done = True  # it is gone: the end of its socket says so
        if done:
            self._loop.remove_writer(seat.number)

    def _heard(self, seat: Seat) -> None:
        """The socket has something: an answer, a part of one, or its end."""
        run = seat.run
        if run is None:
            self._in_thread(seat, lambda: _recovered(seat.engine))
            return
        try:
            outputs = seat.engine.hear()
        except PenstockError as error:
            self._failed(seat, run, error)
            return
        except _DIED:
            self._in_thread(seat, lambda: _again(seat.engine, run.jobs))
            return
        if outputs is None:
            return
        whole = checked(outputs, run.rows)
        if isinstance(whole, PenstockError):
            self._failed(seat, run, whole)
        else:
            self._over(seat, run, split(run.jobs, whole) if len(run.jobs) > 1 else [whole])

    def _failed(self, seat: Seat, run: BatchRun, error: PenstockError) -> None:
        """The model refused; where several were asked at once, each is asked alone."""
        if len(run.jobs) == 1 or seat.stopped:
            self._over(seat, run, [error] * len(run.jobs))
        else:
            self._in_thread(seat, lambda: [seat.runner.alone(job) if _wanted(job) else gone() for job in run.jobs])

    def _over(self, seat: Seat, run: BatchRun, results: list[Result]) -> None:
        seat.run = None
        self._ended(run, results)

    def _tick(self) -> None:
        """Beside what every lane looks at: a process that hangs is ended."""
        super()._tick()
        now = perf_counter()
        for seat in self._seats:
            run = seat.run
            if run is not None and not seat.waiting and now - run.started > seat.engine.timeout_s:
                self._in_thread(seat, partial(_hung, seat.engine, len(run.jobs)))

    def _abandon(self, run: BatchRun) -> None:
        """Nobody waits for it: have the model stop, where it lets itself be stopped."""
        seat = next(one for one in self._seats if one.run is run)
        if not seat.waiting and not seat.stopped and seat.process is not None:
            seat.stopped = True
            seat.process.cancel()

    # -- the socket, and the thread for what has to wait

    def _listen(self, seat: Seat, process: SandboxedModel | None) -> None:
        """Hear this process and no other."""
        if process is seat.process:
            return
        if seat.process is not None:
            self._loop.remove_reader(seat.number)
            self._loop.remove_writer(seat.number)
        seat.process = process
        if process is not None:
            seat.number = process.fileno()
            self._loop.add_reader(seat.number, self._heard, seat)

    def _in_thread(self, seat: Seat, work: Callable[[], list[Result]]) -> None:
        """Let the seat's thread wait for something; the loop does not hear its process meanwhile."""
        run = seat.run
        seat.waiting += 1
        self._listen(seat, None)

        def ended(done: asyncio.Future[list[Result]]) -> None:
            seat.waiting -= 1
            if not seat.waiting and seat in self._seats:
                self._listen(seat, seat.engine.idle())
            if run is not None:
                self._over(seat, run, done.result())

        self._loop.run_in_executor(seat.thread, work).add_done_callback(ended)

    def _leave(self, seat: Seat, close: Callable[[], None]) -> None:
        """Let go of a seat."""
        self._listen(seat, None)
        seat.thread.submit(close)
        seat.thread.shutdown(wait=False)

    def _stop(self) -> None:
        seats, self._seats = self._seats, []
        for seat in seats[1:]:
            self._leave(seat, seat.engine.leave)
        self._leave(seats[0], self.engine.close)


def _recovered(engine: RemoteEngine) -> list[Result]:
    """Have a process ready again; where none can be had, the next request is told why."""
    try:
        engine.recover()
    except PenstockError as error:
        _LOG.error("a model's process ended, and there is no other: %s", error)
    return []


def _hung(engine: RemoteEngine, jobs: int) -> list[Result]:
    """End a process that does not answer."""
    return [engine.give_up()] * jobs


def _again(engine: RemoteEngine, jobs: list[Job]) -> list[Result]:
    """Ask for each job that somebody waits for, alone, after a death under all of them."""
    wanted = [job for job in jobs if _wanted(job)]
    results = iter(engine.ask_again([job.arrays for job in wanted], timeout_s=time_left(jobs)))
    return [_one(next(results), job) if job in wanted else gone() for job in jobs]


def _one(result: Result, job: Job) -> Result:
    return result if isinstance(result, PenstockError) else checked(result, job.rows)


def _wanted(job: Job) -> bool:
    """Whether somebody waits for its answer."""
    return not (job.finished or job.cancelled)
