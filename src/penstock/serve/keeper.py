"""Stage 4, serve: the keeper: answers what is no prediction, and does what callers may have changed.

    call --protocol.act--> Act or None ... done --catalogue--> protocol.describe --> Reply
    Act --may they?--> resting file --every worker's status--> done        (load, unload)
                  `--> a region's file                         done        (register, unregister)
                  `--> snapshot, every worker's status         done        (enlist, dismiss; see `enlisting`)

Whoever answers the call is one worker of several: what it writes is read by all, and a load or an unload is only
answered when every worker that serves has gone along.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic

import msgspec

from penstock.access.permissions import LOAD, SHARE
from penstock.errors import DeadlineExceeded, Fault, Forbidden, NotReady, PenstockError
from penstock.records import Route
from penstock.serve import resting
from penstock.serve.acts import Act, Dismiss, Enlist, LoadAct, Register, RenewKey, Unload
from penstock.serve.board import Board, unauthenticated
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Catalogue, unknown_endpoint
from penstock.serve.catalogue import catalogue
from penstock.serve.enlisting import Enlisting, EnlistingTerms
from penstock.serve.protocol import Operation, ServingProtocol, Verb
from penstock.serve.regions import Regions
from penstock.serve.torchkeys import RENEW

WAIT_S = 60.0
"""How long a load may take before its caller is told that it goes on."""
LOOK_S = 0.02
Answer = Callable[[Reply], None]
Done = Callable[[PenstockError | None], None]
_LOG = logging.getLogger("penstock.serve")


class Keeper:
    """Does acts.

    Args:
        board: Says who may.
        run: The run folder.

    Attributes:
        regions: Shared memory, for requests too.
        enlisting: Endpoints that come and go at run time; until it is replaced none may.
    """

    def __init__(self, board: Board, run: Path) -> None:
        self.regions = Regions(run)
        self.enlisting = Enlisting(run, EnlistingTerms())
        self._board = board
        self._run = run
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, protocol: ServingProtocol, operation: Operation, call: Call, answer: Answer) -> None:
        """Answer a call that is no prediction: at once, or when its act is done.

        Raises:
            PenstockError: It cannot be answered, and was not.
        """
        act = protocol.act(operation, call)
        if act is None:
            answer(protocol.describe(operation, self.catalogue(operation.verb, call), call))
            return
        protocol.admit(operation, self.catalogue(operation.verb, call), call)
        if isinstance(act, Enlist):
            self._board.may(LOAD, call.headers, call.received_at)
            act = msgspec.structs.replace(act, endpoint=act.endpoint or self.enlisting.plan(act).endpoint)
            operation = msgspec.structs.replace(operation, endpoint=act.endpoint)

        def done(error: PenstockError | None) -> None:
            try:
                if error is not None:
                    raise error
                reply = protocol.describe(operation, self.catalogue(operation.verb, call), call)
            except PenstockError as refusal:
                reply = protocol.refuse(refusal)
            answer(reply)

        self.perform(act, call, done)

    def catalogue(self, verb: Verb, call: Call) -> Catalogue:
        """What the caller may see, as far as the verb is about it.

        Raises:
            Forbidden: It is about shared memory, and the caller may not use that.
        """
        found = catalogue(self._board, self._run / "meters", call, verb)
        if verb == "regions":
            return msgspec.structs.replace(found, regions=self.regions.owned(self.owner(call)))
        return found

    def perform(self, act: Act, call: Call, done: Done) -> None:
        """Do it, then tell how it went: None, or the error; at once where nobody has to be waited for.

        Raises:
            Forbidden: The caller may not.
            NotFound: There is no such endpoint, or no such package.
            Conflict: The endpoints here come with releases.
            InvalidInput: What is to be registered is no region, or what is to be enlisted has no name.
        """
        if isinstance(act, LoadAct | Unload):
            self._start(self._rested(act, self._authorized(act, call)), act, done)
            return
        if isinstance(act, Enlist):
            self._board.may(LOAD, call.headers, call.received_at, endpoint=act.endpoint)
            self._start(self.enlisting.enlist(self.enlisting.plan(act)), act, done)
            return
        if isinstance(act, Dismiss):
            self._authorized(act, call)
            self._start(self.enlisting.dismiss(act.endpoint), act, done)
            return
        if isinstance(act, RenewKey):
            self._renew(act, call)
            done(None)
            return
        owner = self.owner(call)
        if isinstance(act, Register):
            self.regions.register(act, owner)
        else:
            self.regions.unregister(act.name, owner)
        done(None)

    def _renew(self, act: RenewKey, call: Call) -> None:
        keys, grant = self._board.keys, self._board.grant(call.headers, call.received_at)
        if keys is None:
            raise PenstockError("there are no keys here", "serve with --torchserve-keys", code="serve.unsupported")
        if grant is None or RENEW not in grant.permissions:
            raise unauthenticated()
        keys.renew(act.kind)

    def owner(self, call: Call) -> str:
        """Whose regions a call is about.

        Raises:
            Forbidden: The caller may not share memory, or is on another machine.
        """
        if not self._board.loopback:
            raise Forbidden("shared memory is for callers on the same machine", "send the tensors themselves")
        return self._board.may(SHARE, call.headers, call.received_at)

    def _authorized(self, act: LoadAct | Unload | Dismiss, call: Call) -> Route:
        visible = self._board.visible(call.headers, call.received_at)
        route = self._board.routes.get(act.endpoint)
        if act.endpoint not in visible or route is None:
            raise unknown_endpoint()
        self._board.may(LOAD, call.headers, call.received_at, endpoint=act.endpoint)
        return route

    def _start(self, work: Coroutine[None, None, None], act: Act, done: Done) -> None:
        task = asyncio.get_running_loop().create_task(self._turn(work, act, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _rested(self, act: LoadAct | Unload, route: Route) -> None:
        number = resting.change(self._run, act.endpoint, route.release if isinstance(act, Unload) else None)
        await self._everywhere(number, route)

    async def _turn(self, work: Coroutine[None, None, None], act: Act, done: Done) -> None:
        try:
            await work
        except PenstockError as error:
            done(error)
        # The worker loop: a run folder that cannot be written must not end the worker.
        except Exception:
            _LOG.exception("what a caller wanted changed could not be done: %s", type(act).__name__)
            done(Fault("", code="serve.fault"))
        else:
            done(None)

    async def _everywhere(self, number: int, route: Route) -> None:
        """Wait until every worker that serves goes by the file of that number.

        Raises:
            NotReady: One of them cannot load the endpoint's models.
            DeadlineExceeded: They have not all done it in time; they go on.
        """
        end = monotonic() + WAIT_S
        digests = {variant.digest for variant in route.variants}
        while True:
            behind = [one for one in resting.statuses(self._run) if one.resting < number]
            if not behind:
                return
            if any(digests & one.failed.keys() for one in behind):
                raise NotReady("the endpoint cannot be loaded", "its workers' status files say why", code="serve.load")
            if monotonic() > end:
                raise DeadlineExceeded("not every worker has done it yet", "they go on; look at the index")
            await asyncio.sleep(LOOK_S)
