"""Stage 4, serve: an explanation on its way: a visit whose answer takes many runs of the model.

    the rows themselves --lane--> which number --> the background --lane--> mixtures, part by part --lane--> values

It begins as a prediction does: decoded, sent to the variant of its key, conformed, and run. What follows are jobs like
any other's, one at a time and short, with the caller's deadline, priority and share of the queue, so that an
explanation waits behind others as often as it has parts. It is counted under its code, and not written to the log:
that holds predictions, each asked once, and what is monitored there must not see one row a thousand times.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from time import perf_counter

import numpy as np

from penstock.errors import Fault, InvalidInput, ModelFailed, Overloaded, PenstockError
from penstock.serve.board import ServedEndpoint
from penstock.serve.calls import Call, Reply
from penstock.serve.features import Features, Quantity, features_of, quantity_of
from penstock.serve.lane import Job, Result
from penstock.serve.models import Model
from penstock.serve.protocol import ANY_AIM, Aim, Explanation, ServingProtocol
from penstock.serve.visit import Answer, Desk, Visit
from penstock.statistics.shapley import Attribution, Design, design
from penstock.tensors import Arrays, Floats

MOST_ROWS = 16
"""Rows of one request: each takes up to `penstock.statistics.shapley.MOST_MIXTURES` rows of the model's time."""
AT_ONCE = 4
"""Explanations of one worker: each has a part in the queue, before which others wait."""
PART_ROWS = 256
PART_S = 0.01
"""Rows of one part, and how long a run of it may be expected to take: so long, or half as long again as one row."""
_LOG = logging.getLogger("penstock.serve")

Parts = Generator[Arrays, Arrays, Explanation]
"""Gives the rows to run next, takes the answer to them."""


class Explaining(Visit):
    """One request for an explanation, from decoded to answered."""

    __slots__ = ("_aim", "_explanation", "_features", "_held", "_parts")

    def __init__(self, desk: Desk, own_id: str, *, call: Call, endpoint: ServedEndpoint, answer: Answer) -> None:
        super().__init__(desk, own_id, call=call, endpoint=endpoint, answer=answer)
        self._aim: Aim = ANY_AIM
        self._features = Features((), True)
        self._held: Model | None = None
        self._parts: Parts | None = None
        self._explanation: Explanation | None = None

    def decode(self, protocol: ServingProtocol) -> None:
        """The body, and which number is to be explained."""
        super().decode(protocol)
        self._aim = protocol.aim(self._call)

    def conform(self) -> None:
        """The input by the variant's signature; its features."""
        super().conform()
        model = self.arm.model
        if self.rows > MOST_ROWS:
            raise InvalidInput("too many rows to explain", f"send at most {MOST_ROWS} at once", where="inputs")
        self._features = features_of(model.manifest.signature)
        if not model.background:
            raise PenstockError("the package has no rows to explain against", "predict", code="serve.unsupported")
        if self._desk.explaining >= AT_ONCE:
            raise Overloaded("too many explanations are under way", "ask again in a second")
        self._desk.explaining += 1
        model.hold()
        self._held = model

    def finish(self, result: Result) -> None:
        """An error is the end of it; an answer to the rows themselves is where the explanation begins."""
        if isinstance(result, PenstockError):
            super().finish(result)
        elif self._parts is None:
            self._parts = self._explained(result)
            self.advance(None)

    def advance(self, outputs: Arrays | None) -> None:
        """Take the answer to a part, and have the next one run; None starts the first."""
        if self.finished or self._parts is None:
            return
        try:
            arrays = next(self._parts) if outputs is None else self._parts.send(outputs)
            self.arm.model.lane.submit(Portion(self, arrays), self._endpoint.route.limits.queue)
        except StopIteration as stop:
            self._explanation = stop.value
            super().finish({})
        except PenstockError as error:
            super().finish(error)
        # The worker loop: an answer that cannot be read is the model's failure.
        except Exception as error:
            super().finish(ModelFailed(f"explaining raised {type(error).__name__}: {error}"))

    def done(self, result: Result) -> None:
        """Encode, count, answer."""
        self._desk.in_flight -= 1
        if self._held is not None:
            self._held.let_go()
            self._desk.explaining -= 1
        code = "ok"
        try:
            if isinstance(result, PenstockError):
                raise result
            if self.protocol is None or self._explanation is None:
                raise Fault("nothing was explained")
            reply = self._with_ids(self.protocol.explain(self._request, self._explanation))
        except PenstockError as error:
            code = error.code
            if isinstance(error, Fault):
                _LOG.error("explanation %s: %s", self.id, error)
            reply = self._with_ids(self._refused(error))
        # The protocol boundary: outputs that cannot be encoded are the model's fault.
        except Exception:
            code = ModelFailed.code
            _LOG.exception("explanation %s could not be encoded", self.id)
            reply = self._with_ids(self._refused(ModelFailed("")))
        self._series(code).add(self.rows, perf_counter() - self._call.started)
        self._answer(reply)

    def _with_ids(self, reply: Reply) -> Reply:
        headers = b"%bx-explanation-id: %b\r\n" % (reply.headers, self.id.encode())
        if self._arm is not None:
            headers += self._arm.headers
        return Reply(reply.status, reply.body, reply.content_type, headers)

    def _explained(self, outputs: Arrays) -> Parts:
        """The explanation of all rows, from the answer to the rows themselves."""
        model, names = self.arm.model, self._features.names
        quantity = quantity_of(model.manifest, self._decided(outputs), self._aim)
        plan = design(len(names), len(next(iter(model.background.values()))))
        background = {name: array[: plan.background_rows] for name, array in model.background.items()}
        behind = self._decided((yield background))
        answers = self._decided(outputs)
        answered = np.array([quantity.read(answers, row)[row] for row in range(self.rows)])
        found: list[Attribution] = []
        for row in range(self.rows):
            mixtures = yield from self._mixtures(row, plan, background, quantity)
            found.append(plan.attribute(quantity.read(behind, row), mixtures, float(answered[row])))
        route = self._endpoint.route
        return Explanation(
            self.id,
            route.endpoint,
            self.arm.version,
            names,
            np.array([one.values for one in found]).reshape(self.rows, len(names)),
            np.array([one.standard_errors for one in found]).reshape(self.rows, len(names)),
            np.array([one.base for one in found]),
            answered,
            quantity.output,
            quantity.labels,
            "exact" if plan.orders is None else "sampled",
            plan.background_rows,
            route.limits.nan == "token",
        )

    def _mixtures(
        self, row: int, plan: Design, background: Arrays, quantity: Quantity
    ) -> Generator[Arrays, Arrays, Floats]:
        """What the model answers to the mixtures of one row, asked part by part."""
        own = {name: array[row : row + 1] for name, array in self.arrays.items()}
        answers: list[Floats] = []
        start = 0
        while start < len(plan.own):
            pace = self.arm.model.lane.pace
            most = min(PART_ROWS, pace.rows_within(max(PART_S, 1.5 * pace.run_s(1))))
            part = slice(start, start + most)
            mixed = self._features.mixed(own, background, plan.own[part], plan.behind[part])
            answers.append(quantity.read(self._decided((yield mixed)), row))
            start = part.stop
        return np.concatenate(answers) if answers else np.empty(0)


class Portion(Job):
    """Some rows that an explanation needs the answer to; it is cancelled with the explanation."""

    __slots__ = ("_whole",)

    def __init__(self, whole: Explaining, arrays: Arrays) -> None:
        self._whole = whole
        super().__init__(arrays, len(next(iter(arrays.values()))), whole.deadline)
        self.subject = whole.subject
        self.priority = whole.priority

    @property
    def cancelled(self) -> bool:
        """Whether the caller has gone."""
        return self._whole.cancelled

    @cancelled.setter
    def cancelled(self, gone: bool) -> None:
        self._whole.cancelled |= gone

    def done(self, result: Result) -> None:
        """Go on with the explanation, or end it."""
        if isinstance(result, PenstockError):
            self._whole.finish(result)
        else:
            self._whole.advance(result)
