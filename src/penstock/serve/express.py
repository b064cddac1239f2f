"""Stage 4, serve: the usual requests of one event-loop turn, answered together.

    ticket (who, where, which dialect: checked when its head first came) + body --take--> ... end of the turn:
        decode each -> choose -> stack -> one engine run -> encode -> one count, one capture, one write -> answer each
                             `-> where the model runs elsewhere: into its queue, each by itself -> ... -> answer it

Nothing is refused here: whatever is unusual in any way, an error included, goes to `Flow.handle`, which is complete.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import repeat
from time import perf_counter, time
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from penstock.errors import ModelFailed, PenstockError
from penstock.log.captures import RunFields, Stem, blocks
from penstock.serve.board import ServedEndpoint
from penstock.serve.ids import Ids
from penstock.serve.lane import Job, Result
from penstock.serve.meters import CounterSeries, Label
from penstock.serve.router import Arm, choose
from penstock.serve.rowcodec import Bodies, Row, RowCodec, RunAnswers, Said
from penstock.serve.thresholds import decide
from penstock.serve.visit import Desk
from penstock.tensors import Arrays

T = TypeVar("T")
MOST_ROWS = 256
"""Rows of one run: it bounds how long a turn keeps the connections waiting."""
_LOG = logging.getLogger("penstock.serve")


class Ticket(NamedTuple):
    """What a request's head is worth while the board stays as it is.

    Attributes:
        epoch: Of the board when it was made; another one makes it worthless.
        express: Where its requests are answered; None where they are not usual.
        subject: Who asks.
        expires_at: Of the grant, seconds since the epoch; 0 means never.
    """

    epoch: object
    express: Express | None
    subject: str
    expires_at: float


class Entry(Protocol):
    """A request as its listener holds it, until it is answered one way or the other."""

    ticket: Ticket
    body: bytes
    started: float
    job: Job | None

    def predicted(self, own_id: str, lines: tuple[bytes, bytes], content: bytes) -> None:
        """Send a prediction with its id, the dialect's header lines and the variant's."""

    def unusual(self) -> None:
        """Hand the request to the complete path."""

    def failed(self, failure: Failure) -> None:
        """Have the complete path say, count and record it; see `penstock.serve.flow.Flow.fail`."""


class Failure(NamedTuple):
    """What became of a usual request that its model, or its queue, refused.

    Attributes:
        own_id: Its prediction's.
        endpoint: As it was when the request came.
        arm: Which variant was chosen.
        subject: Who asked.
        received_at: When, in seconds since the epoch.
        error: Why.
    """

    own_id: str
    endpoint: ServedEndpoint
    arm: Arm
    subject: str
    received_at: float
    error: PenstockError


class Express:
    """Answers the usual requests of one endpoint in one form of one dialect.

    Args:
        desk: What all requests share.
        ids: New prediction ids.
        endpoint: Without shadows.
        codec: For its signature.
    """

    def __init__(self, desk: Desk, ids: Ids, endpoint: ServedEndpoint, codec: RowCodec) -> None:
        self._desk = desk
        self._ids = ids
        self._endpoint = endpoint
        self._codec = codec
        self._logged = endpoint.route.limits.log != "off"
        # A loop that stays awake would keep the processor from a model in a process beside it.
        self._poll = desk.poll if all(arm.model.lane.inline for arm in endpoint.arms) else None
        self._lone = False
        self._turn = 0
        self._books: dict[Arm, Book] = {}
        self._taken: list[Entry] = []
        self._loop = asyncio.get_running_loop()

    def take(self, entry: Entry) -> None:
        """Answer it at the end of the turn; or at once, where turns bring one alone and the loop is awake."""
        poll = self._poll
        if self._lone and poll is not None and poll.awake and poll.turns != self._turn:
            self._turn = poll.turns
            self._handle([entry])
            poll.answered(entry.started)
            return
        if not self._taken:
            self._loop.call_soon(self._flush)
        self._taken.append(entry)

    def _flush(self) -> None:
        taken, self._taken = self._taken, []
        self._lone = len(taken) == 1
        for start in range(0, len(taken), MOST_ROWS):
            self._handle(taken[start : start + MOST_ROWS])
        if self._poll is not None:
            self._poll.answered(taken[0].started)

    def _handle(self, entries: list[Entry]) -> None:
        now = time()
        decode = self._codec.decode
        try:
            rows = [decode(entry.body) for entry in entries]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            entries, rows = self._usual(entries)
        if not entries:
            return
        if any([0.0 < entry.ticket.expires_at <= now for entry in entries]):  # noqa: C419 (a list is faster)
            for entry in entries:
                entry.unusual()
            return
        ids = self._ids.many(len(entries))
        said = self._codec.said(rows)
        arms = self._endpoint.arms
        whole = Run(arms[0], entries, rows, ids, said)
        for run in (whole,) if len(arms) == 1 else self._runs(whole):
            self._answer(run, now)

    def _usual(self, entries: list[Entry]) -> tuple[list[Entry], list[Row]]:
        """Those of a turn that can be decoded; the others go the complete way."""
        usual: list[Entry] = []
        rows: list[Row] = []
        for entry in entries:
            try:
                row = self._codec.decode(entry.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                entry.unusual()
                continue
            usual.append(entry)
            rows.append(row)
        return usual, rows

    def _runs(self, whole: Run) -> list[Run]:
        """A turn's requests by the variant that answers them."""
        salt, arms = self._endpoint.route.salt, self._endpoint.arms
        keys = whole.said.keys or repeat("")
        chosen = [choose(arms, salt, key or own_id) for key, own_id in zip(keys, whole.ids)]  # noqa: B905 (endless)
        runs: list[Run] = []
        for arm in arms:
            places = [place for place, one in enumerate(chosen) if one is arm]
            if places:
                runs.append(whole.part(arm, places))
        return runs

    def _answer(self, run: Run, now: float) -> None:
        arm, entries, rows, _, _ = run
        if not arm.model.lane.inline:
            self._submit(run, now)
            return
        try:
            arrays = self._codec.stack(rows)
            outputs = self._outputs(arm, arrays, len(rows))
            answers = self._encoded(run, outputs)
        # The worker loop: one request's row may be what broke the run, so each is asked for alone, and told apart.
        except Exception:
            for entry in entries:
                entry.unusual()
            return
        self._keep(run, arrays, outputs, now)
        _send(run, answers)

    def _submit(self, run: Run, now: float) -> None:
        """Each request into the model's queue: there it has its turn, its time and its end like any other."""
        arm, entries, _, _, _ = run
        limits = self._endpoint.route.limits
        for place, entry in enumerate(entries):
            alone = run if len(entries) == 1 else run.part(arm, [place])
            try:
                arrays = self._codec.stack(alone.rows)
            # Whatever its values are that cannot be stacked, the complete path says which.
            except Exception:
                entry.unusual()
                continue
            deadline = entry.started + limits.deadline_s if limits.deadline_s else 0.0
            job = entry.job = QueuedRow(self, alone, arrays, now, deadline)
            self._desk.in_flight += 1
            try:
                arm.model.lane.submit(job, limits.queue)
            except PenstockError as error:
                job.finish(error)

    def heard(self, job: QueuedRow, result: Result) -> None:
        """A request's outputs are there, or it was refused."""
        self._desk.in_flight -= 1
        run = job.run
        run.entries[0].job = None
        if isinstance(result, PenstockError):
            self._fail(job, result)
            return
        try:
            outputs = self._decided(run.arm, result)
            answers = self._encoded(run, outputs)
        # The protocol boundary: outputs that cannot be encoded are the model's fault.
        except Exception:
            _LOG.exception("request %s could not be encoded", run.ids[0])
            self._fail(job, ModelFailed(""))
            return
        self._keep(run, job.arrays, outputs, job.received_at)
        _send(run, answers)

    def _fail(self, job: QueuedRow, error: PenstockError) -> None:
        run = job.run
        run.entries[0].failed(Failure(run.ids[0], self._endpoint, run.arm, job.subject, job.received_at, error))

    def _encoded(self, run: Run, outputs: Arrays) -> Bodies:
        arm, _, rows, ids, said = run
        endpoint = self._endpoint.route.endpoint
        return self._codec.encode(RunAnswers(endpoint, arm.version, ids, rows, outputs, said.client_ids))

    def _decided(self, arm: Arm, outputs: Arrays) -> Arrays:
        thresholds = self._endpoint.route.thresholds
        return decide(thresholds, arm.model.manifest, outputs) if thresholds else outputs

    def _outputs(self, arm: Arm, arrays: Arrays, rows: int) -> Arrays:
        lane = arm.model.lane
        outputs = lane.engine.run(arrays)
        lane.ran(rows)
        for array in outputs.values():
            if len(array) != rows:
                raise ValueError("an output has another number of rows than the input")
        return self._decided(arm, outputs)

    def _keep(self, run: Run, arrays: Arrays, outputs: Arrays, now: float) -> None:
        """Count and record before anything is answered."""
        arm, entries, _, ids, said = run
        book = self._books.get(arm) or self._open(arm)
        requests = len(entries)
        end = perf_counter()
        latencies_s = [end - entry.started for entry in entries]
        waited_ns = book.series.add_rows(latencies_s)
        engine = arm.model.engine
        if engine is not None and engine.series is not None:
            # What is not the run itself is waiting for the turn's end, decoding included.
            infer_ns = requests * engine.last_ns
            engine.series.asked(requests, 0, max(waited_ns - infer_ns, 0), infer_ns, 0)
        if self._logged:
            subjects = [entry.ticket.subject for entry in entries]
            rest = RunFields(
                now,
                ids,
                latencies_s,
                blocks(arrays),
                blocks(outputs),
                (),
                [key or own_id for key, own_id in zip(said.keys, ids, strict=True)] if said.keys else (),
                [at or now for at in said.event_times] if said.event_times else (),
                said.client_ids,
                subjects if any(subjects) else (),
            )
            self._desk.recorder.record_now(book.stem.pieces(rest), requests)

    def _open(self, arm: Arm) -> Book:
        """The book of a variant, from its first answer on."""
        route = self._endpoint.route
        series = arm.series.get("ok")
        if series is None:
            label = Label(route.endpoint, arm.version, arm.variant.name, "ok")
            series = arm.series["ok"] = self._desk.meters.series(label)
        book = self._books[arm] = Book(series, Stem(route.endpoint, route.release, arm.variant, "ok"))
        return book


class Book(NamedTuple):
    """Where a variant's answers are counted, and how its captures begin."""

    series: CounterSeries
    stem: Stem


class Run(NamedTuple):
    """Requests that one variant answers together."""

    arm: Arm
    entries: list[Entry]
    rows: list[Row]
    ids: list[str]
    said: Said

    def part(self, arm: Arm, places: list[int]) -> Run:
        """Some of them, for another variant."""
        said = self.said
        return Run(
            arm,
            _at(self.entries, places),
            _at(self.rows, places),
            _at(self.ids, places),
            Said(_at(said.keys, places), _at(said.event_times, places), _at(said.client_ids, places)),
        )


class QueuedRow(Job):
    """A usual request that waits for a model which is not on the event loop.

    Attributes:
        run: It, alone.
        received_at: Seconds since the epoch.
    """

    __slots__ = ("_express", "received_at", "run")

    def __init__(self, express: Express, run: Run, arrays: Arrays, received_at: float, deadline: float) -> None:
        super().__init__(arrays, 1, deadline)
        self.subject = run.entries[0].ticket.subject
        self.run = run
        self.received_at = received_at
        self._express = express

    def done(self, result: Result) -> None:
        """See `Express.heard`."""
        self._express.heard(self, result)


def _send(run: Run, answers: Bodies) -> None:
    """To each its own."""
    headers = run.arm.headers
    for entry, own_id, lines, content in zip(run.entries, run.ids, *answers, strict=True):
        entry.predicted(own_id, (lines, headers), content)


def _at(column: Sequence[T], places: list[int]) -> list[T]:
    """What a column has at some places; nothing where it is empty."""
    return [column[place] for place in places] if column else []
