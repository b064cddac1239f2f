"""Stage 4, serve: what a dialect has to do, and the nouns that pass between it and the flow.

    listener --Call--> flow --Call--> decode --Request--> flow ... Prediction --> encode --Reply--> listener

Everything here is free of input and output: bytes and headers come in, bytes and a status go out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from penstock.errors import PenstockError
from penstock.serve.acts import Act
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Catalogue
from penstock.serve.refusals import refuse
from penstock.tensors import Arrays, Floats, Signature

Verb = Literal[
    "predict", "alive", "live", "ready", "server", "list", "model", "model_ready", "index", "stats", "config",
    "load", "unload", "explain", "stream", "regions", "register", "unregister", "unspoken",
    "enlist", "dismiss", "workers", "scale", "prefer", "renew", "document",
]  # fmt: skip


class Operation(msgspec.Struct, frozen=True):
    """What a path and a method ask for.

    Attributes:
        version: Its number, or ``@`` and the name of a variant; empty where the request names none.
    """

    verb: Verb
    endpoint: str = ""
    version: str = ""


class Span(msgspec.Struct, frozen=True):
    """A part of a region of shared memory, in bytes."""

    region: str
    offset: int
    size: int


class SharedInput(msgspec.Struct, frozen=True):
    """An input that lies in shared memory.

    Attributes:
        where: Path of the tensor, for errors.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    span: Span
    where: str


class Request(msgspec.Struct, frozen=True):
    """One decoded prediction request.

    Attributes:
        client_id: The caller's own id, echoed and kept apart from ours.
        key: Routing key; empty where the caller gave none.
        event_time: Seconds since the epoch; 0 where the caller did not say.
        timeout_s: The caller's time budget; 0 where there is none.
        wanted: Outputs to answer with; empty means all.
        binary: Outputs to answer as raw bytes.
        priority: 1 is the highest; 0 where the caller did not say.
        shared: Inputs that lie in shared memory and are not yet in `arrays`; see `penstock.serve.regions`.
        placed: Outputs that go into shared memory instead of the answer.
        form: What the dialect has to remember of the request until it encodes the answer.
    """

    arrays: Arrays
    client_id: str = ""
    key: str = ""
    event_time: float = 0.0
    timeout_s: float = 0.0
    wanted: tuple[str, ...] = ()
    binary: frozenset[str] = frozenset()
    priority: int = 0
    shared: tuple[SharedInput, ...] = ()
    placed: dict[str, Span] = {}
    form: object = None


class Prediction(msgspec.Struct, frozen=True):
    """What a model answered to one request, and which model it was.

    Attributes:
        nan_tokens: Numbers that JSON does not have leave as the tokens NaN and Infinity, and not as null.
        classes: The model's, in the order of its probabilities; empty where it told none.
    """

    id: str
    endpoint: str
    version: str
    outputs: Arrays
    nan_tokens: bool = False
    classes: tuple[str | int | bool, ...] = ()


class Aim(msgspec.Struct, frozen=True):
    """Which number of the answer an explanation is wanted of.

    Attributes:
        output: Name of an output; empty means the probability, or else the prediction.
        label: A class, as text, or the place of a value in the output; empty means the class that was answered.
    """

    output: str = ""
    label: str = ""


ANY_AIM = Aim()
"""The probability of the class that was answered, or the prediction of a regression."""


class Explanation(msgspec.Struct, frozen=True):
    """Which part each feature has in what a model answered: ``base + values.sum(axis=1)`` is ``answered``.

    Attributes:
        id: Ours; an explanation is no prediction, so the log does not know it.
        features: Names: of the inputs, or of the columns of a model's one matrix (their places where it names none).
        values: Shapley values, ``(rows, features)``.
        standard_errors: Of the values, ``(rows, features)``; 0 where they were counted out and not sampled.
        base: What the model answers in the mean over the background, ``(rows,)``.
        answered: What it answers to the row itself, ``(rows,)``.
        output: Name of the output that was explained.
        labels: Per row the class, or the place in the output, that was explained; empty where the output has one value.
        method: ``exact`` or ``sampled``.
        background_rows: Rows against which it was explained.
        nan_tokens: As in `Prediction`.
    """

    id: str
    endpoint: str
    version: str
    features: tuple[str, ...]
    values: Floats
    standard_errors: Floats
    base: Floats
    answered: Floats
    output: str
    labels: tuple[str, ...]
    method: Literal["exact", "sampled"]
    background_rows: int
    nan_tokens: bool = False


Compat = Literal["strict", "triton", "kserve", "mlserver"]


class Manner(msgspec.Struct, frozen=True):
    """How to speak where the place decides it and not the request.

    Attributes:
        compat: Whose answer is given where servers of the same protocol differ; ``strict`` is the specification's.
        environment: Environment variables of the process: some platforms name routes and ports in them.
    """

    compat: Compat = "strict"
    environment: Mapping[str, str] = {}


STRICT = Manner()
"""As the specifications say, in no particular place."""


class ServingProtocol(Protocol):
    """A dialect: its five verbs, none of which reads or writes anything.

    Who inherits from this class has to write `match`, `decode`, `encode` and `describe`. A path that names no endpoint
    (``/invocations``, ``/score``) is an operation with an empty one: the only one there is.

    Args:
        manner: How to speak here.

    Attributes:
        forms: Names of its usual requests in the adapters' ``rowcodec`` table; empty where it has none.
        manner: As given.
    """

    forms: tuple[str, ...] = ()
    manner: Manner

    def __init__(self, manner: Manner = STRICT) -> None:
        self.manner = manner

    def match(self, method: str, path: str) -> Operation | None:
        """What a request line asks for; None where it is not this dialect's."""

    def decode(self, call: Call, signature: Signature) -> Request:
        """Bytes to arrays, by the signature's names.

        Raises:
            InvalidInput: With the field's path and never its value.
        """

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """Outputs to bytes."""

    def named(self, call: Call) -> str:
        """The endpoint of a call whose path names none, where a header or the body does; empty means the only one.

        Raises:
            InvalidInput: With the field's path and never its value.
        """
        return ""

    def aim(self, call: Call) -> Aim:
        """What a call for an explanation wants explained; asked only then, after `decode`.

        Raises:
            InvalidInput: With the field's path and never its value.
        """
        return ANY_AIM

    def explain(self, request: Request, explanation: Explanation) -> Reply:
        """An explanation to bytes; a dialect that has the verb ``explain`` writes it."""
        raise PenstockError("this dialect has no explanations", "ask in another one", code="serve.unsupported")

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """The answer to everything that is not a prediction; after its act, where it has one."""

    def act(self, operation: Operation, call: Call) -> Act | None:
        """What the call wants changed; None where it only asks.

        Raises:
            InvalidInput: With the field's path and never its value.
        """
        return None

    def admit(self, operation: Operation, catalogue: Catalogue, call: Call) -> None:
        """Look at what is there before an act.

        Raises:
            InvalidInput: It cannot be done; NotFound and Forbidden say the same.
        """

    def event(self, reply: Reply) -> bytes:
        """A piece of an answer that comes in several, a refusal included: an event (WHATWG HTML, 9.2)."""
        lines = b"".join(b"data: %b\n" % line for line in reply.body.splitlines())
        return b"%b%b\n" % (b"event: error\n" if reply.status >= 400 else b"", lines)

    def refuse(self, error: PenstockError, reference: str = "") -> Reply:
        """An error in the dialect's words; see the function `refuse`, which most dialects use."""
        return refuse(error, reference)
