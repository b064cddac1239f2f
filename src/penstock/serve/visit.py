"""Stage 4, serve: one prediction request on its way, and the copies its shadows get.

Comes in: a call whose endpoint is known. Goes out, in this order, so that nothing answered is unknown: a count, a
capture for the log, the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter

import msgspec

from penstock.errors import Fault, InvalidInput, ModelFailed, PenstockError, Unready
from penstock.log.captures import FORMAT, Capture, blocks
from penstock.serve.board import ServedEndpoint
from penstock.serve.busypoll import BusyPoll
from penstock.serve.calls import Call, Reply
from penstock.serve.eventtime import seconds
from penstock.serve.lane import Job, Result
from penstock.serve.meters import CounterSeries, Label, Meters
from penstock.serve.protocol import Prediction, Request, ServingProtocol, Span
from penstock.serve.recorder import Recorder
from penstock.serve.refusals import refuse
from penstock.serve.regions import Regions
from penstock.serve.router import Arm, choose, pinned
from penstock.serve.thresholds import decide
from penstock.tensors import Arrays, conform

Answer = Callable[[Reply], None]
_LOG = logging.getLogger("penstock.serve")


class Desk:
    """What every visit of a worker shares.

    Attributes:
        recorder: Takes exchanges.
        meters: Takes counts.
        in_flight: Visits begun and not yet answered.
        explaining: Those of them that are explanations.
        regions: Shared memory of callers on this machine; None takes none.
        poll: Keeps the event loop awake; None lets it sleep.
    """

    __slots__ = ("explaining", "in_flight", "meters", "poll", "recorder", "regions")

    def __init__(self, recorder: Recorder, meters: Meters, poll: BusyPoll | None = None) -> None:
        self.recorder = recorder
        self.meters = meters
        self.in_flight = 0
        self.explaining = 0
        self.regions: Regions | None = None
        self.poll = poll


class Visit(Job):
    """One prediction request, from decoded to answered.

    Attributes:
        id: Ours.
        arm: The variant that answers; None until it is chosen.
        subject: Who asked.
        protocol: In whose words it is answered, a refusal included.
    """

    __slots__ = ("_answer", "_arm", "_call", "_desk", "_endpoint", "_request", "_since", "id", "protocol", "share")

    def __init__(self, desk: Desk, own_id: str, *, call: Call, endpoint: ServedEndpoint, answer: Answer) -> None:
        super().__init__({}, 0, 0.0)
        self.id = own_id
        self.subject = ""
        self.share = 1.0
        self._desk = desk
        self._call = call
        self.protocol: ServingProtocol | None = None
        self._endpoint = endpoint
        self._answer = answer
        self._request = Request({})
        self._arm: Arm | None = None
        self._since = 0.0

    @property
    def arm(self) -> Arm:
        """The chosen variant."""
        if self._arm is None:
            raise Fault("no variant was chosen")
        return self._arm

    @property
    def places_outputs(self) -> bool:
        """Whether an output is to be put into shared memory."""
        return bool(self._request.placed)

    def decode(self, protocol: ServingProtocol) -> None:
        """The body by its dialect, and what the headers say beside it."""
        self.protocol = protocol
        headers = self._call.headers
        request = protocol.decode(self._call, self._endpoint.signature)
        if b"x-routing-key" in headers or b"x-event-time" in headers or b"x-deadline-ms" in headers:
            request = _with_headers(request, headers)
        if request.shared or request.placed:
            request = self._in_memory(request)
        self._request = request
        self.priority = request.priority
        budget = request.timeout_s or self._endpoint.route.limits.deadline_s
        self.deadline = self._call.started + budget if budget else 0.0

    def _in_memory(self, request: Request) -> Request:
        """The request with its shared tensors read, and places for outputs looked at."""
        regions = self._desk.regions
        if regions is None:
            raise PenstockError("shared memory is not spoken here", "send the tensors", code="serve.unsupported")
        regions.check(request.placed, self.subject)
        return regions.fetch(request, self.subject)

    def choose(self, version: str) -> None:
        """The variant of the routing key, or of the version that the path names."""
        arms = self._endpoint.arms
        if version:
            self._arm = pinned(arms, version)
            return
        self.take(choose(arms, self._endpoint.route.salt, self._request.key or self.id))

    def take(self, arm: Arm) -> None:
        """The variant of this routing key."""
        self._arm = arm
        self.share = arm.variant.share

    def conform(self) -> None:
        """The input by the variant's signature."""
        limits = self._endpoint.route.limits
        self.arrays = conform(
            self.arm.model.manifest.signature, self._request.arrays, no_rows=limits.no_rows == "answer"
        )
        self.rows = len(next(iter(self.arrays.values())))
        if self.rows > limits.max_rows:
            most = limits.max_rows
            raise InvalidInput("the request has too many rows", f"send at most {most} at once", where="inputs")
        self._since = perf_counter()

    def piece(self, own_id: str, rows: slice, answer: Answer) -> Visit:
        """Some of its rows as a prediction of their own, by the same variant."""
        now = perf_counter()
        call = msgspec.structs.replace(self._call, body=b"", started=now)
        piece = Visit(self._desk, own_id, call=call, endpoint=self._endpoint, answer=answer)
        given = {name: array[rows] for name, array in self._request.arrays.items()}
        piece._request = msgspec.structs.replace(self._request, arrays=given, key=self._request.key or self.id)
        piece._arm, piece.share = self._arm, self.share
        piece.protocol, piece.subject, piece.priority = self.protocol, self.subject, self.priority
        piece.arrays = {name: array[rows] for name, array in self.arrays.items()}
        piece.rows = len(next(iter(piece.arrays.values())))
        budget = self._endpoint.route.limits.deadline_s
        piece.deadline = self.deadline if self._request.timeout_s else now + budget if budget else 0.0
        piece._since = now
        self._desk.in_flight += 1
        return piece

    def submit(self) -> None:
        """Into its model's queue, or refused."""
        try:
            self.arm.model.lane.submit(self, self._endpoint.route.limits.queue)
        except PenstockError as error:
            self.finish(error)

    def done(self, result: Result) -> None:
        """Encode, count, record, answer; then let the shadows see it."""
        self._desk.in_flight -= 1
        outputs: Arrays = {}
        code = "ok"
        back = perf_counter()
        try:
            if isinstance(result, PenstockError):
                raise result
            outputs = self._decided(result)
            reply = self._encoded(outputs)
            self._note_times(back)
        except PenstockError as error:
            code = error.code
            if isinstance(error, Fault):
                _LOG.error("request %s: %s", self.id, error)
            reply = self._with_ids(self._refused(error))
        # The protocol boundary: outputs that cannot be encoded are the model's fault.
        except Exception:
            code, outputs = ModelFailed.code, {}
            _LOG.exception("request %s could not be encoded", self.id)
            reply = self._with_ids(self._refused(ModelFailed("")))
        self._keep(outputs, code, reply)
        if self._endpoint.shadows and self.arrays and self.rows:
            self._shadow()

    def _note_times(self, back: float) -> None:
        """Count where the time of an answered request went; `back` is when its outputs were there."""
        engine = self.arm.model.engine
        if engine is None or engine.series is None or not self.rows:
            return
        infer_ns = engine.last_ns
        waited_ns = int((back - self._since) * 1e9)
        input_ns = int((self._since - self._call.started) * 1e9)
        output_ns = int((perf_counter() - back) * 1e9)
        engine.series.asked(1, input_ns, max(waited_ns - infer_ns, 0), infer_ns, output_ns)

    def _refused(self, error: PenstockError) -> Reply:
        return self.protocol.refuse(error, self.id) if self.protocol else refuse(error, self.id)

    def _decided(self, outputs: Arrays) -> Arrays:
        thresholds = self._endpoint.route.thresholds
        return decide(thresholds, self.arm.model.manifest, outputs) if thresholds else outputs

    def _encoded(self, outputs: Arrays) -> Reply:
        route, request = self._endpoint.route, self._request
        tokens, classes = route.limits.nan == "token", self.arm.model.manifest.classes
        prediction = Prediction(self.id, route.endpoint, self.arm.version, outputs, tokens, classes)
        if self.protocol is None:
            raise Fault("nothing was decoded")
        if request.placed and self._desk.regions is not None:
            placed = self._desk.regions.place(request.placed, outputs, self.subject)
            spans = {name: Span(span.region, span.offset, placed[name]) for name, span in request.placed.items()}
            self._request = msgspec.structs.replace(request, placed=spans)
        return self._with_ids(self.protocol.encode(self._request, prediction))

    def _with_ids(self, reply: Reply) -> Reply:
        headers = b"%bx-prediction-id: %b\r\n" % (reply.headers, self.id.encode())
        if self._arm is not None:
            headers += self._arm.headers
        return Reply(reply.status, reply.body, reply.content_type, headers)

    def _keep(self, outputs: Arrays, code: str, reply: Reply) -> None:
        """Count it, record it, answer it: in that order, so that nothing answered is unknown."""
        latency_s = perf_counter() - self._call.started
        self._series(code).add(self.rows, latency_s)
        policy = self._endpoint.route.limits.log
        if policy == "off" or code.startswith("access."):
            self._answer(reply)
            return
        recorder = self._desk.recorder
        recorder.record(self.capture(self._arm, outputs, code=code, latency_s=latency_s))
        if policy == "strict":
            recorder.when_durable(lambda durable: self._answer(reply if durable else self._refused(_unlogged())))
        else:
            self._answer(reply)

    def _series(self, code: str) -> CounterSeries:
        arm = self._arm
        name = self._endpoint.route.endpoint
        if arm is None:
            return self._desk.meters.series(Label(name, "", "", code))
        series = arm.series.get(code)
        if series is None:
            label = Label(name, arm.version, arm.variant.name, code)
            series = arm.series[code] = self._desk.meters.series(label)
        return series

    def capture(self, arm: Arm | None, outputs: Arrays, *, code: str, latency_s: float) -> Capture:
        """What happened, for the log; an arm other than the chosen one is a shadow."""
        request, route, received_at = self._request, self._endpoint.route, self._call.received_at
        variant = arm.variant if arm else None
        return Capture(
            FORMAT,
            route.endpoint,
            route.release,
            variant.model if variant else "",
            variant.version if variant else 0,
            variant.name if variant else "",
            self.share if variant else 0.0,
            variant is not None and variant.shadow,
            code,
            received_at,
            (self.id,),
            (latency_s,),
            blocks(self.arrays),
            blocks(outputs),
            (self.rows,),
            (request.key or self.id,),
            (request.event_time or received_at,),
            (request.client_id,),
            (self.subject,),
        )

    def record(self, capture: Capture) -> None:
        """Log a shadow's run under this visit's endpoint's policy."""
        if self._endpoint.route.limits.log != "off":
            self._desk.recorder.record(capture)

    def _shadow(self) -> None:
        for arm in self._endpoint.shadows:
            copy = ShadowCopy(self, arm)
            try:
                copy.arrays = conform(arm.model.manifest.signature, self._request.arrays)
                arm.model.lane.submit(copy, self._endpoint.route.limits.queue)
            except PenstockError as error:
                copy.finish(error)


class ShadowCopy(Job):
    """The copy of a request that a shadow gets: recorded under the same id, answered to nobody."""

    __slots__ = ("_arm", "_started", "_visit")

    def __init__(self, visit: Visit, arm: Arm) -> None:
        super().__init__(visit.arrays, visit.rows, 0.0)
        self._visit = visit
        self._arm = arm
        self._started = perf_counter()

    def done(self, result: Result) -> None:
        """Record what the shadow would have answered."""
        code = result.code if isinstance(result, PenstockError) else "ok"
        outputs: Arrays = {} if isinstance(result, PenstockError) else result
        if isinstance(result, Fault):
            _LOG.error("shadow %s of request %s: %s", self._arm.variant.name, self._visit.id, result)
        latency_s = perf_counter() - self._started
        self._visit.record(self._visit.capture(self._arm, outputs, code=code, latency_s=latency_s))


def _with_headers(request: Request, headers: dict[bytes, bytes]) -> Request:
    """What the body says, or else what the headers say."""
    key = request.key or headers.get(b"x-routing-key", b"").decode("utf-8", "replace")
    at = request.event_time
    if not at and b"x-event-time" in headers:
        at = seconds(headers[b"x-event-time"].decode("utf-8", "replace"), "headers.x-event-time")
    timeout_s = request.timeout_s
    if not timeout_s and b"x-deadline-ms" in headers:
        try:
            timeout_s = float(headers[b"x-deadline-ms"]) / 1e3
        except ValueError:
            timeout_s = -1.0
        if not 0 < timeout_s < 1e6:
            raise InvalidInput(
                "this is not a number of milliseconds", "send a positive number", where="headers.x-deadline-ms"
            )
    return msgspec.structs.replace(request, key=key, event_time=at, timeout_s=timeout_s)


def _unlogged() -> Unready:
    return Unready("the answer could not be recorded, and this endpoint asks for that", code="log.disk")
