"""A run of the conformance kit at one server: how it is reached, what it says of itself, which model is asked.

Comes in: transports, and what the server says of itself and of the model (`penstock.conformance.opening`). Goes out:
a `Kit` that cases and properties ask through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from penstock.conformance.case import Asked, CaseLevel, ProtocolCase
from penstock.conformance.inferences import Inference, difference, read_inference
from penstock.conformance.model import ModelUnderTest
from penstock.conformance.needs import Allowed, implied_needs, lacking
from penstock.conformance.samples import Sampler
from penstock.conformance.template import Filler, packed, written
from penstock.conformance.tensorforms import Misformed, raw_bytes, read_values
from penstock.conformance.transport import Heard, Sent, Transport
from penstock.errors import BadConfig
from penstock.tensors import Arrays


class KitOptions(NamedTuple):
    """What to run, and against whom.

    Attributes:
        url: Of REST; empty for gRPC alone.
        grpc: ``host:port``; empty for REST alone.
        model: Its name; empty for the first one that the server lists.
        token: A bearer's; empty for none.
        seed: Of values and properties.
        examples: How many random requests a property asks.
        level: Cases of this level and those above it.
        only: Part of the ids to run; empty for all.
        timeout_s: How long an answer may take.
        rows: Whether a free first dimension stands for rows.
        most_rows: A request's, at most.
        changes: Whether the model may be unloaded and loaded.
        example: A request that the model is known to take, as JSON; values are drawn from it.
    """

    url: str = ""
    grpc: str = ""
    model: str = ""
    token: str = ""
    seed: int = 0
    examples: int = 20
    level: CaseLevel = "extension"
    only: str = ""
    timeout_s: float = 10.0
    rows: bool = True
    most_rows: int = 5
    changes: bool = False
    example: Mapping[str, object] | None = None

    @property
    def allowed(self) -> Allowed:
        """What cases may count on."""
        return Allowed(self.changes, self.example is None, self.most_rows)


class ServerSaid(NamedTuple):
    """What a server says of itself."""

    name: str = ""
    version: str = ""
    extensions: tuple[str, ...] = ()


class Kit:
    """What cases and properties ask through.

    Args:
        transports: By name, ``rest`` and ``grpc``.
        server: What it says of itself.
        model: What it says of the model.
        options: Of the run.

    Attributes:
        last: The request that went out last, and by which way.
        heard: What came back; None where nothing did.
    """

    def __init__(
        self, transports: dict[str, Transport], server: ServerSaid, model: ModelUnderTest, options: KitOptions
    ) -> None:
        self.transports = transports
        self.server = server
        self.model = model
        self.options = options
        self.sampler = Sampler(model, _example(options.example, model), options.seed)
        self.filler = Filler(model, self.sampler)
        self.last: tuple[str, Sent] | None = None
        self.heard: Heard | None = None
        self._plain: dict[int, Arrays | None] = {}

    def ask(self, transport: str, sent: Sent) -> Heard:
        """Ask, and remember what was asked.

        Raises:
            Unheard: There is no answer.
        """
        self.last, self.heard = (transport, sent), None
        self.heard = self.transports[transport].ask(sent)
        return self.heard

    def plain(self, rows: int) -> Arrays | None:
        """What the plain request of so many rows is told; None where it fails, or is told two things.

        Raises:
            Unheard: There is no answer.
        """
        if rows not in self._plain:
            kept = self.last, self.heard
            answers = [self._told(self.sampler.plain(rows)) for _ in range(2)]
            steady = all(answers) and not difference(answers[0] or {}, answers[1] or {})
            self._plain[rows] = answers[0] if steady else None
            self.last, self.heard = kept
        return self._plain[rows]

    def infer(self, arrays: Arrays, form: str) -> tuple[Heard, Inference | None]:
        """An inference over one of the ways: ``flat``, ``nested``, ``binary``, ``contents`` or ``raw``.

        Returns:
            What was heard, and what it says; None where that was a refusal.

        Raises:
            Unheard: There is no answer.
            Misformed: It is no inference answer.
        """
        transport, sent = self.request(arrays, form)
        heard = self.ask(transport, sent)
        return heard, None if heard.refused else read_inference(heard, self.model)

    def request(self, arrays: Arrays, form: str) -> tuple[str, Sent]:
        """The way and the request of an inference in one of the forms."""
        tail: list[bytes] = []
        if form in ("contents", "raw"):
            message: dict[str, object] = {"model_name": self.model.name}
            message["inputs"] = self.filler.inputs(arrays, "bare" if form == "raw" else form, tail)
            if form == "raw":
                message["raw_input_contents"] = [packed(raw_bytes(arrays[spec.name])) for spec in self.model.inputs]
            return "grpc", Sent("ModelInfer", message=message)
        body: dict[str, object] = {"inputs": self.filler.inputs(arrays, form, tail)}
        if form == "binary":
            body["parameters"] = {"binary_data_output": True}
        return "rest", self.post(written(body, "compact"), tail)

    def post(self, head: bytes, tail: list[bytes] | None = None) -> Sent:
        """An inference of REST with this body."""
        sent = self.filler.fill(Asked(method="POST", path="/v2/models/{model}/infer"))
        if not tail:
            return sent._replace(headers={"content-type": "application/json"}, body=head)
        length = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
        return sent._replace(headers=length, body=head + b"".join(tail))

    def unfit(self, case: ProtocolCase) -> str:
        """Why a case is left out; empty where it is asked."""
        wanted = ("rest", "grpc") if case.transport == "both" else (case.transport,)
        missing = [name for name in wanted if name not in self.transports]
        if missing:
            return "no address of gRPC was given" if missing[0] == "grpc" else "no address of REST was given"
        if case.extensions and not set(case.extensions) & set(self.server.extensions):
            return f"the server does not list the extension {case.extensions[0]}"
        needs = (*case.needs, *implied_needs(case))
        return next((why for need in needs if (why := lacking(need, self.model, self.options.allowed))), "")

    def close(self) -> None:
        """Let go of all connections."""
        for transport in self.transports.values():
            transport.close()

    def _told(self, arrays: Arrays) -> Arrays | None:
        form = "flat" if "rest" in self.transports else "contents" if self.model.in_json else "raw"
        try:
            found = self.infer(arrays, form)[1]
        except Misformed:
            return None
        return found.outputs if found else None


def _example(example: Mapping[str, object] | None, model: ModelUnderTest) -> Arrays:
    """Arrays of the example request's inputs.

    Raises:
        BadConfig: It is no request.
    """
    inputs = example.get("inputs") if example else []
    found: Arrays = {}
    for one in inputs if isinstance(inputs, list) else []:
        try:
            found[one["name"]] = read_values(one["name"], one["datatype"], one["shape"], one["data"])
        except (KeyError, TypeError, Misformed):
            raise BadConfig(
                "the example is no inference request",
                "give inputs with name, datatype, shape and data",
                where="example",
            ) from None
    return found


def rng_of(kit: Kit, case_id: str, index: int) -> np.random.Generator:
    """The generator of a property's example: the same for the same seed, case and number."""
    return np.random.default_rng([kit.options.seed, index, *case_id.encode()])
