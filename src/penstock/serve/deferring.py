"""Stage 4, serve: requests that are accepted at once and answered later, in any dialect (RFC 7240, respond-async).

    POST ... with Prefer: respond-async --checked, on the disk--> 202 and where to look
    what waits --a few at a time, behind whoever waits for an answer--> the ordinary request path --> its reply, kept
    GET /jobs/ID, GET /jobs/ID/result, DELETE /jobs/ID

Every worker takes from the same folder, so a worker that dies takes nothing along.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import perf_counter

import msgspec

from penstock.errors import ModelFailed, NotFound, PenstockError
from penstock.serve.board import Board
from penstock.serve.calls import QUERY, Call, Reply
from penstock.serve.deferrals import KEEP_S, TRIES, Claim, Deferral, Deferrals, DeferredReply, new_id
from penstock.serve.refusals import refuse

PATH = "/jobs/"
AT_ONCE = 4
"""Runs of one worker at a time."""
LOOK_S = 1.0
_SWEEP_S = 60.0
_KEPT = frozenset(
    {
        QUERY, b"content-type", b"accept", b"inference-header-content-length",
        b"x-routing-key", b"x-event-time", b"x-deadline-ms",
        b"x-request-id", b"x-ms-request-id", b"x-ms-client-request-id",
    }
)  # fmt: skip
_KEPT_BEGIN = (b"ce-", b"x-amzn-sagemaker-")
"""Headers that dialects read. Any other may be somebody's secret, whatever a gateway calls it, and is not written."""
_AGAIN = (429, 503)
_LATER = b"retry-after: 1\r\n"
_LOG = logging.getLogger("penstock.serve")
_json = msgspec.json.Encoder().encode

Answer = Callable[[Reply], None]
Resume = Callable[[Call, str, Answer], None]


def preferred(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the caller would rather come back than wait."""
    words = headers.get(b"prefer", b"").lower().split(b",")
    return any(word.partition(b";")[0].strip() == b"respond-async" for word in words)


class Deferring:
    """Accepts, runs and hands out.

    Args:
        folder: Of what was accepted.
        board: Says who asks.
        resume: Answers a call of somebody whose right to it was checked before.
    """

    def __init__(self, folder: Path, board: Board, resume: Resume) -> None:
        self._deferrals = Deferrals(folder)
        self._board = board
        self._resume = resume
        self._news = asyncio.Event()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, call: Call, owner: str, answer: Answer) -> None:
        """Acknowledge a call that was found right, once it is on the disk."""
        headers = {name.decode("latin-1"): value for name, value in call.headers.items() if _is_kept(name)}
        deferral = Deferral(
            id=new_id(),
            owner=owner,
            method=call.method,
            path=call.path,
            headers=headers,
            body=call.body,
            accepted_at=call.received_at,
        )
        self._start(self._accept(deferral, answer))

    def handle(self, call: Call, answer: Answer) -> None:
        """Answer a call below ``/jobs/``.

        Raises:
            NotFound: There is no such path.
        """
        own_id, _, what = call.path.removeprefix(PATH).partition("/")
        if what not in ("", "result"):
            raise NotFound("there is no such path", "ask for a job or its result", code="serve.no_path")
        grant = self._board.grant(call.headers, call.received_at)
        self._start(self._show(call.method, own_id, grant.subject if grant else "", answer, whole=bool(what)))

    async def _show(self, method: str, own_id: str, owner: str, answer: Answer, *, whole: bool) -> None:
        try:
            reply = await asyncio.to_thread(self._found, method, own_id, owner, whole=whole)
        except PenstockError as error:
            reply = refuse(error)
        except OSError as error:
            _LOG.error("a job cannot be looked at: %s", error)
            reply = refuse(PenstockError("", code="serve.disk"))
        answer(reply)

    def _found(self, method: str, own_id: str, owner: str, *, whole: bool) -> Reply:
        """On a thread: a job's state, or its reply where the whole of it is asked for.

        Raises:
            NotFound: There is no such job, or it is somebody else's.
        """
        found = self._deferrals.reply(own_id, owner)
        if method == "DELETE" and not whole:
            self._deferrals.forget(own_id)
            return Reply(204)
        if method not in ("GET", "HEAD"):
            raise NotFound("the path takes another method", "use GET or DELETE", code="serve.method")
        if whole and found is not None:
            return Reply(found.status, found.body, found.content_type, found.headers)
        state = self._deferrals.state(own_id)
        return Reply(202 if whole else 200, _words(own_id, state), headers=b"" if found else _LATER)

    async def run(self) -> None:
        """Take what waits, for ever."""
        swept = 0.0
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_S)
            self._news.clear()
            if self._board.draining:
                return
            try:
                await self._take()
                if time.monotonic() - swept > _SWEEP_S:
                    swept = time.monotonic()
                    await asyncio.to_thread(self._deferrals.sweep)
            except OSError as error:
                _LOG.error("accepted requests cannot be read: %s", error)

    async def _accept(self, deferral: Deferral, answer: Answer) -> None:
        try:
            await asyncio.to_thread(self._deferrals.accept, deferral)
        except PenstockError as error:
            answer(refuse(error))
        except OSError as error:
            _LOG.error("a request cannot be accepted: %s", error)
            answer(refuse(PenstockError("", code="serve.disk")))
        else:
            place = f"{PATH}{deferral.id}".encode()
            lines = b"location: %b\r\npreference-applied: respond-async\r\n%b" % (place, _LATER)
            answer(Reply(202, _words(deferral.id, "waiting"), headers=lines))
            self._news.set()

    async def _take(self) -> None:
        """Start what fits."""
        if self._running >= AT_ONCE:
            return
        claims = self._deferrals.claims()
        while self._running < AT_ONCE:
            claim = await asyncio.to_thread(next, claims, None)
            if claim is None:
                return
            self._running += 1
            self._start(self._run(claim))

    async def _run(self, claim: Claim) -> None:
        """One call, to its reply."""
        deferral = claim.deferral
        try:
            late = time.time() > deferral.accepted_at + KEEP_S
            if claim.tries > TRIES:
                reply = refuse(ModelFailed(""), deferral.id)
            else:
                reply = await self._answered(deferral)
            if reply.status in _AGAIN and not late:
                await asyncio.sleep(LOOK_S)
                await asyncio.to_thread(self._deferrals.put_back, claim)
                return
            kept = DeferredReply(
                id=deferral.id,
                owner=deferral.owner,
                status=reply.status,
                body=reply.body,
                content_type=reply.content_type,
                headers=reply.headers,
                accepted_at=deferral.accepted_at,
                ended_at=time.time(),
            )
            await asyncio.to_thread(self._deferrals.finish, claim, kept)
        except OSError as error:
            _LOG.error("a reply cannot be kept, its request is run again: %s", error)
        # Nobody waits for this task: what it raises would be lost.
        except Exception:
            _LOG.exception("accepted request %s could not be run, it is run again", deferral.id)
        finally:
            claim.release()
            self._running -= 1
            self._news.set()

    async def _answered(self, deferral: Deferral) -> Reply:
        headers = {name.encode("latin-1"): value for name, value in deferral.headers.items()}
        call = Call(deferral.method, deferral.path, headers, deferral.body, deferral.accepted_at, perf_counter())
        told: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._resume(call, deferral.owner, partial(_tell, told))
        return await told

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_kept(name: bytes) -> bool:
    return name in _KEPT or name.startswith(_KEPT_BEGIN)


def _tell(told: asyncio.Future[Reply], reply: Reply) -> None:
    if not told.done():
        told.set_result(reply)


def _words(own_id: str, state: str) -> bytes:
    return bytes(_json({"id": own_id, "state": state, "result": f"{PATH}{own_id}/result"}))
