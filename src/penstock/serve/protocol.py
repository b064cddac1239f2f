"""Stage 4, serve: what a dialect has to do, and the nouns that pass between listener, dialect and flow.

    listener --Call--> flow --Call--> decode --Request--> flow ... Prediction --> encode --Reply--> listener

Everything here is free of input and output: bytes and headers come in, bytes and a status go out, so an HTTP
listener, a function handler and a test call the same code. The one map from errors to HTTP codes is here too,
because every dialect of this folder speaks HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal, Protocol
from urllib.parse import parse_qsl

import msgspec

from penstock import errors
from penstock.serve.cards import Catalogue
from penstock.tensors import Arrays, Floats, Signature

Verb = Literal[
    "predict", "alive", "live", "ready", "server", "list", "model", "model_ready", "index", "stats", "config",
    "load", "unload", "explain", "stream", "regions", "register", "unregister", "unspoken",
    "enlist", "dismiss", "workers", "scale", "prefer", "renew", "document",
]  # fmt: skip
QUERY = b":query"
"""Where a listener puts the query of a request target, among the headers: no header can have such a name."""


class Call(msgspec.Struct, frozen=True):
    """One request as a listener read it.

    Attributes:
        method: Upper case.
        path: Without the query, percent-decoded.
        headers: Names in lower case.
        body: Decompressed.
        received_at: Seconds since the epoch.
        started: `time.perf_counter` when the last byte came.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes
    received_at: float
    started: float

    @property
    def query(self) -> dict[str, str]:
        """The last value of each name in the query of the request target; a name alone has an empty one."""
        return dict(parse_qsl(self.headers.get(QUERY, b"").decode("ascii", "replace"), keep_blank_values=True))


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


class PartsSource(Protocol):
    """Where a body comes from that comes in parts."""

    def go_on(self) -> None:
        """The client reads: more is welcome."""

    def cancel(self) -> None:
        """The client has gone."""


class Parts:
    """A body that comes in parts: put in as they are made, taken out by whoever listens.

    Attributes:
        room: Whether more is welcome; a client that reads slowly has none.
        begun: Whether the head of the answer has left; the listener's.
    """

    __slots__ = ("_data", "_ended", "_heard", "_source", "begun", "room")

    def __init__(self, source: PartsSource) -> None:
        self.room = True
        self.begun = False
        self._source = source
        self._data: list[bytes] = []
        self._ended = False
        self._heard: Callable[[], None] | None = None

    def attach(self, heard: Callable[[], None]) -> None:
        """Have somebody told whenever there is something to read."""
        self._heard = heard

    def put(self, data: bytes) -> None:
        """One more part."""
        self._data.append(data)
        if self._heard is not None:
            self._heard()

    def end(self) -> None:
        """That was the last one."""
        self._ended = True
        if self._heard is not None:
            self._heard()

    def read(self) -> tuple[bytes, bool]:
        """All that came since the last time, and whether nothing follows."""
        data, self._data = self._data, []
        return b"".join(data), self._ended

    def hold(self) -> None:
        """The client does not read."""
        self.room = False

    def go_on(self) -> None:
        """It reads again."""
        self.room = True
        self._source.go_on()


class Reply(msgspec.Struct, frozen=True):
    """What goes back.

    Attributes:
        headers: Further header lines, each ended by CR LF.
        parts: The body where it is not here yet: `body` is empty then.
    """

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: bytes = b""
    parts: Parts | None = None


class LoadAct(msgspec.Struct, frozen=True):
    """Have an endpoint answer again."""

    endpoint: str


class Unload(msgspec.Struct, frozen=True):
    """Take an endpoint's models out of memory until it is loaded again, or until its next release."""

    endpoint: str


class Enlist(msgspec.Struct, frozen=True):
    """Have a package answer as a new endpoint; only on a data plane that nobody releases to.

    Attributes:
        endpoint: Its name; empty takes the model's own.
        source: The package's folder, or an archive, as the caller writes it: absolute, a ``file:`` address, or below
            the first folder of ``--models``.
        rows: In one run; 0 leaves it to the model.
    """

    endpoint: str
    source: str
    rows: int = 0


class Dismiss(msgspec.Struct, frozen=True):
    """Take an endpoint away for good; only on a data plane that nobody releases to."""

    endpoint: str


class Register(msgspec.Struct, frozen=True):
    """Name a part of a POSIX shared memory object.

    Attributes:
        key: The object's name.
        offset: In the object, in bytes.
        size: In bytes.
    """

    name: str
    key: str
    offset: int
    size: int


class Unregister(msgspec.Struct, frozen=True):
    """Forget a region; an empty name means all of the caller's."""

    name: str


class RenewKey(msgspec.Struct, frozen=True):
    """Have another key of a kind in the file of TorchServe's keys."""

    kind: Literal["management", "inference"]


Act = LoadAct | Unload | Enlist | Dismiss | Register | Unregister | RenewKey
"""What a caller may have changed; `penstock.serve.keeper.Keeper` does it, whoever may."""


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
        raise errors.PenstockError("this dialect has no explanations", "ask in another one", code="serve.unsupported")

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

    def refuse(self, error: errors.PenstockError, reference: str = "") -> Reply:
        """An error in the dialect's words; see the function `refuse`, which most dialects use."""
        return refuse(error, reference)


STATUS: dict[type[errors.PenstockError], int] = {
    errors.InvalidInput: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Forbidden: 403,
    errors.Refused: 400,
    errors.DeadlineExceeded: 504,
    errors.Unready: 503,
    errors.Fault: 500,
}
BY_CODE = {
    "access.unauthenticated": 401,
    "serve.unsupported": 501,
    "serve.method": 405,
    "serve.too_large": 413,
    "serve.media_type": 415,
    "serve.not_acceptable": 406,
    "serve.memory": 507,
    "serve.slow": 408,
    "serve.share": 429,
    "serve.rate": 429,
    "serve.cancelled": 499,
    "serve.headers_too_large": 431,
}


def status_of(error: errors.PenstockError) -> int:
    """The HTTP status of an error: by its code where that has one of its own, else by the nearest class."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def refuse(error: errors.PenstockError, reference: str = "") -> Reply:
    """The answer to a request that failed: ``{"error", "code", "where"}``; a fault shows its code alone.

    Args:
        error: What went wrong.
        reference: Id under which the log tells more of a fault.
    """
    status = status_of(error)
    if isinstance(error, errors.Fault):
        text = "the server failed at this request; its log says more under this id"
        return Reply(status, msgspec.json.encode({"error": text, "code": error.code, "id": reference}))
    body = {"error": str(error), "code": error.code}
    if error.where:
        body["where"] = error.where
    headers = b""
    if status in (429, 503):
        headers = b"retry-after: %d\r\n" % getattr(error, "retry_after_s", 1)
    elif status == 401:
        headers = b"www-authenticate: Bearer\r\n"
    return Reply(status, msgspec.json.encode(body), headers=headers)


def seconds(text: str | float, where: str) -> float:
    """A time as epoch seconds or ISO 8601 (without a zone: UTC).

    Raises:
        InvalidInput: It is neither, or outside the years 1970 to 5138.
    """
    try:
        value = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(str(text))
        except ValueError:
            raise _not_a_time(where) from None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= value < 1e11:
        raise _not_a_time(where)
    return value


def _not_a_time(where: str) -> errors.InvalidInput:
    return errors.InvalidInput("this is not a time", "send epoch seconds or ISO 8601", where=where)
