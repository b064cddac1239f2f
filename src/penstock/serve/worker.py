"""Stage 4, serve: one worker process.

    snapshot file --poll--> shelf (load, prove) --> board (the pointer moves) --> status file
    listening socket (the supervisor's) --> door --> flow

It starts as a spare: it follows the snapshot and loads, and answers nobody. Told to serve, it gets its number, its
counters, its journal, and accepts. When the supervisor dies it finishes what it holds and exits.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import time
from collections.abc import Coroutine, Set
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from penstock.errors import PenstockError
from penstock.log.journal import Journal
from penstock.packages.keyring import KeyRing
from penstock.records import Limits, Snapshot, WorkerStatus, encode
from penstock.runtime.ceiling import Ceiling
from penstock.runtime.processors import cpu_quota
from penstock.serve.board import Board
from penstock.serve.busypoll import BusyPoll
from penstock.serve.channel import Message, hear, say
from penstock.serve.deferring import Deferring
from penstock.serve.dialects import Dialects
from penstock.serve.enlisting import Enlisting, EnlistingTerms
from penstock.serve.flow import Flow
from penstock.serve.listeners.doors import Doors
from penstock.serve.listeners.limits import HttpLimits
from penstock.serve.meters import Meters
from penstock.serve.models import Shelf
from penstock.serve.protocol import Compat, Manner
from penstock.serve.rates import Rates
from penstock.serve.recorder import Recorder
from penstock.serve.resting import RestingFile
from penstock.serve.snapshots import SnapshotFile, leave_word, needed_by, sizings_of, warm_of, without
from penstock.serve.sockets import Sockets
from penstock.serve.torchkeys import TorchKeys
from penstock.serve.turn import LoopTurn
from penstock.serve.visit import Desk

POLL_S = 0.5
"""How often it looks by itself: it says that it is alive then, and a nudge may have been lost."""
AGAIN_S = 2.0
"""How often a package is looked at again whose signer is not trusted."""
_LOG = logging.getLogger("penstock.serve")


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor tells a worker at its start.

    Attributes:
        run: Folder of snapshot and status files.
        log: Folder of the journal; empty records nothing.
        key: PEM file of who may have signed packages; empty takes unsigned ones.
        environments: Where environments of sandboxed models are kept; empty means none.
        allow: What callers without a token may do on public routes, beside asking; words with commas between.
        strict_readiness: Not ready while an endpoint is unloaded.
        jobs: Folder of requests that are answered later; empty answers all at once.
        compat: Whose answers are given where servers of the same protocol differ.
        fronted: A platform's front lets through whom it knows: routes may be public as they may on loopback.
        models: Folders from which endpoints may be added at run time.
        released: A control plane says what is served, and nobody else.
        limits: Of endpoints that are added at run time.
        torchserve_keys: Every call needs a key or a token; the keys lie in the run folder.
        linger_s: A last worker goes on accepting for so long after it said that it is not ready.
        idle_s: In a rolling restart idle clients get so long to ask once more.
    """

    run: str
    log: str = ""
    key: str = ""
    environments: str = ""
    loopback: bool = True
    allow: str = ""
    strict_readiness: bool = False
    jobs: str = ""
    compat: Compat = "strict"
    fronted: bool = False
    models: tuple[str, ...] = ()
    released: bool = True
    limits: Limits = Limits()
    torchserve_keys: bool = False
    http: HttpLimits = HttpLimits()
    linger_s: float = 0.5
    idle_s: float = 5.0


class Worker:
    """Follows the snapshot, and serves when told to."""

    def __init__(self, options: WorkerOptions, sockets: Sockets, control: socket.socket) -> None:
        self._options = options
        self._sockets = sockets
        self._control = control
        self._run = Path(options.run)
        self._file = SnapshotFile(self._run)
        keys = self._keys = KeyRing(Path(options.key)) if options.key else None
        environments = Path(options.environments) if options.environments else None
        self._ceiling = Ceiling()
        self._shelf = Shelf(keys, environments, self._run / "needs", self._ceiling)
        allow = frozenset(filter(None, options.allow.split(",")))
        rates = Rates(self._run / "rates")
        self._board = Board(loopback=options.loopback, allow=allow, strict=options.strict_readiness, rates=rates)
        self._board.fronted = options.fronted
        self._board.keys = TorchKeys(self._run) if options.torchserve_keys else None
        self._resting = RestingFile(self._run)
        self._number = 0
        self._troubled: Set[str] = frozenset()
        self._said = True
        self._wanted: Snapshot | None = None
        self._news = asyncio.Event()
        self._looked = asyncio.Event()
        self._cold = asyncio.Event()
        self._over = asyncio.Event()
        self._rested = 0
        self._again_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._desk: Desk | None = None
        self._doors: Doors | None = None

    async def run(self) -> None:
        """Until drained, or until the supervisor is gone."""
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._listen)
        self._ceiling.follow()
        self._start(self._follow())
        self._start(self._settle())
        self._start(self._warm())
        await self._over.wait()
        for task in self._tasks:
            task.cancel()
        self._shelf.close()
        if self._desk is not None:
            self._desk.recorder.close()

    # -- the supervisor's words

    def _listen(self) -> None:
        heard = hear(self._control)
        if heard is None:
            # Nobody would replace us or stop us any more.
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            heard = [Message("drain")]
        for message in heard:
            if message.what == "serve" and not self._number:
                self._number = message.number
                self._start(self._serve(now=message.now))
            elif message.what == "look":
                self._look()
            elif message.what == "drain" and not self._board.draining:
                self._start(self._drain(rolling=message.rolling))

    async def _serve(self, *, now: bool) -> None:
        """Take a number, counters and a journal, and accept."""
        options = self._options
        meters = Meters(self._run / "meters" / f"worker-{self._number}.meter")
        journal = Journal(Path(options.log), f"worker-{self._number}") if options.log else None
        recorder = Recorder(journal, meters)
        # Under a quota a processor that turns for nothing is one that is taken away later.
        poll = BusyPoll(asyncio.get_running_loop()) if cpu_quota() is None else None
        self._desk = Desk(recorder, meters, poll)
        self._shelf.count(meters)
        manner = Manner(options.compat, dict(os.environ))
        flow = Flow(self._board, self._desk, Dialects(manner, grpc=self._sockets.grpc is not None))
        terms = EnlistingTerms(models=options.models, released=options.released, keys=self._keys, limits=options.limits)
        flow.keeper.enlisting = Enlisting(self._run, terms)
        if options.jobs:
            flow.deferring = Deferring(Path(options.jobs), self._board, flow.resume)
            self._start(flow.deferring.run())
        self._doors = Doors(self._sockets, flow, LoopTurn(recorder), options.http)
        self._start(self._doors.sweep())
        self._report()
        if not now:
            await self._looked.wait()
        if not self._board.draining:
            self._doors.open()

    async def _drain(self, *, rolling: bool) -> None:
        """Say that we are not ready, finish what we hold, and end."""
        self._board.draining = True
        self._report()
        doors = self._doors
        if doors is not None:
            doors.close_soon()
        if not rolling:
            # Whoever has not yet seen that we are not ready is still answered, and told to go elsewhere.
            await asyncio.sleep(self._options.linger_s)
        if doors is not None:
            await doors.drain(self._options.idle_s if rolling else 0.0)
        self._over.set()

    # -- the snapshot

    async def _follow(self) -> None:
        """Let the supervisor know that the loop turns, and look at the snapshot file, for ever."""
        while True:
            self._look()
            say(self._control, Message("alive"))
            self._try_again()
            if self._desk is not None:
                waiting = sum(model.lane.depth() for model in self._shelf.models.values())
                self._desk.meters.gauge(self._desk.in_flight, waiting)
                if self._shelf.troubles().keys() != self._troubled or not self._said:
                    self._report()
            await asyncio.sleep(POLL_S)

    def _try_again(self) -> None:
        """Now and then look whether what lost its signer has been signed anew, or its key is trusted again."""
        if self._board.distrusted and time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + AGAIN_S
            self._news.set()

    def _look(self) -> None:
        """Take the snapshot file if it is another one."""
        if self._resting.changed():
            self._board.rest(self._wanted, self._resting.known)
            if self._wanted is not None:
                self._news.set()
        snapshot = self._file.changed()
        if snapshot is not None:
            self._board.rest(snapshot, self._resting.known)
            self._board.announce(snapshot)
            self._wanted = snapshot
            self._news.set()
        elif self._wanted is None:
            self._have_looked()

    async def _settle(self) -> None:
        """Bring the newest snapshot about, for ever; one that cannot be leaves the old routes."""
        await self._news.wait()
        before = self._file.applied()
        if before is not None and self._wanted is not None and before.number < self._wanted.number:
            await self._apply(before)
        while True:
            await self._news.wait()
            self._news.clear()
            wanted = self._wanted
            if wanted is None:
                continue
            # A newer one may come meanwhile, and what was not applied must not be kept as if it had been.
            if await self._apply(wanted):
                self._file.keep(wanted)
            self._board.settled = True
            first = not self._looked.is_set()
            # The supervisor knows before anybody else can: a replacement then waits until it is loaded.
            self._have_looked()
            self._report()
            if first:
                gc.collect()
                gc.freeze()
            self._cold.set()

    async def _apply(self, wanted: Snapshot) -> bool:
        """Load what its routes need, those that rest left out, then move the pointer."""
        resting = self._resting.known
        snapshot = resting.awake(wanted)
        needed = needed_by(snapshot)
        folders = {digest: snapshot.packages.get(digest, "") for digest in sorted(needed)}
        if not await self._shelf.ensure(folders, sizings_of(snapshot)):
            # A signer that was revoked costs its own endpoints alone; those that answer here keep their old package.
            lost = self._board.distrust(snapshot, self._shelf.distrusted())
            snapshot = without(snapshot, lost)
            if not needed_by(snapshot) <= self._shelf.models.keys():
                return False
        try:
            endpoints = self._board.lay(snapshot, self._shelf.models)
        except PenstockError as error:
            _LOG.error("snapshot %d cannot be applied: %s", snapshot.number, error)
            return False
        self._shelf.settle(snapshot)
        self._board.move(endpoints, snapshot.number)
        self._rested = resting.number
        self._shelf.keep(needed | warm_of(snapshot))
        return True

    async def _warm(self) -> None:
        """Load what may be switched to next, for ever, beside `_settle`: a slow one must not delay a switch."""
        while True:
            await self._cold.wait()
            self._cold.clear()
            for digest in sorted(warm_of(self._current()) - self._shelf.models.keys()):
                snapshot = self._current()
                if snapshot is None or digest not in warm_of(snapshot):
                    continue
                await self._shelf.ensure({digest: snapshot.packages.get(digest, "")})
                if digest not in warm_of(self._current()) | needed_by(self._current()):
                    self._shelf.drop(digest)
                self._report()

    def _current(self) -> Snapshot | None:
        """What should answer: the newest snapshot without what rests."""
        return self._resting.known.awake(self._wanted) if self._wanted is not None else None

    def _have_looked(self) -> None:
        if not self._looked.is_set():
            self._looked.set()
            say(self._control, Message("settled"))

    def _report(self) -> None:
        """Write the status file; a spare has none."""
        if not self._number:
            return
        troubles = self._shelf.troubles()
        self._troubled = troubles.keys()
        status = WorkerStatus(
            worker=self._number,
            pid=os.getpid(),
            snapshot=self._board.number,
            ready=tuple(sorted(self._shelf.models)),
            failed=dict(self._shelf.failed),
            codes=dict(self._shelf.codes),
            draining=self._board.draining,
            at=time.time(),
            needs={digest: model.need_bytes for digest, model in self._shelf.models.items()},
            troubles=troubles,
            resting=self._rested,
        )
        path = self._run / "workers" / f"{self._number}.json"
        self._said = leave_word(path, encode(status), again=not self._said)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that fails ends the worker: the supervisor starts a whole one."""
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("the worker ends", exc_info=task.exception())
            os._exit(1)


def live(options: WorkerOptions, sockets: Sockets, control: socket.socket) -> None:
    """Be a worker until drained: all that a forked process does."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    # A number too large for its type becomes infinite, and `conform` refuses that with its place.
    np.seterr(over="ignore", invalid="ignore")

    async def work() -> None:
        await Worker(options, sockets, control).run()

    uvloop.run(work())
