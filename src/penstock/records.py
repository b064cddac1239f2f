"""The frozen nouns that travel between stages: what one stage hands to the next is one of these.

    package -> Manifest      gate -> Finding, Verdict      registry -> Version, Dataset, Approval, Event
    release -> Release, Variant, Step                      serve <- Snapshot -> WorkerStatus, Exchange
    observe -> Measurement, Incident                       feedback -> Outcome, Proposal

All are `msgspec` structs: immutable, typed, equal by value, and written to disk or to the wire by
`encode` and read back by `decode`. Times are seconds since the epoch (UTC); durations end in ``_s``.
A struct whose fields change in a way old readers cannot read gets a new format number where it is stored.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from penstock.errors import Corrupt
from penstock.tensors import Signature

Scalar = str | int | float | bool | None
if TYPE_CHECKING:
    JSON = dict[str, "Scalar | list[JSON] | list[Scalar] | JSON"]
else:
    # msgspec decodes no union of two kinds of lists, and no type that holds itself.
    JSON = dict[str, Any]
"""A JSON object as decoded; open-ended evidence and parameters only, never a place for known fields."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of all records; unknown fields of a newer writer are ignored by an older reader."""


# -- the package ---------------------------------------------------------------------------------


class FileEntry(Record, frozen=True, kw_only=True):
    """One file of a package: SHA-256 in hex, size in bytes."""

    sha256: str
    size: int


class ColumnSummary(Record, frozen=True, kw_only=True):
    """What one column of a dataset looked like; no value of any single row.

    Attributes:
        missing: Rows without a value.
        distinct: Different values among the others.
        mean: Of numbers; None where the column has none.
        spread: Their standard deviation.
        low: Their 1 % quantile.
        high: Their 99 % quantile.
    """

    missing: int = 0
    distinct: int = 0
    mean: float | None = None
    spread: float | None = None
    low: float | None = None
    high: float | None = None


class Dataset(Record, frozen=True, kw_only=True):
    """A versioned reference to data: never the data itself.

    Attributes:
        name: As people call it (``flights-train``).
        digest: ``sha256:<hex>`` of the bytes; of several files, of their paths and digests in the order of the paths.
        rows: Number of rows.
        role: What the data served for: train, validation, test, reference or production.
        place: Where it was found; a hint, not an address to trust.
        columns: Column name to datatype.
        kind: ``file``, ``folder``, ``delta``, ``git`` or ``dvc``.
        revision: Which state of `place` it is: a Delta table's version, a commit, ``md5:<hex>``; empty of plain files.
        since: Event time of its first row; 0 where nobody said which column tells it.
        until: Event time of its last row.
        profile: By column; of the first ones only, where there are very many.
    """

    name: str
    digest: str
    rows: int
    role: str = "validation"
    place: str = ""
    columns: dict[str, str] = {}
    kind: str = "file"
    revision: str = ""
    since: float = 0.0
    until: float = 0.0
    profile: dict[str, ColumnSummary] = {}


class Declared(Record, frozen=True, kw_only=True):
    """What a person says of a model and no measurement can show; empty where nobody said it.

    Attributes:
        intended_use: What it is for.
        out_of_scope: What it must not be used for.
        users: Who is to use it.
        owner: Who answers for it.
        risk: Of its use, as its owner sees it.
        mitigation: What is done about that.
        limitations: Where it is known to be weak.
        explanation: How its answers are explained to those whom they concern.
        fairness: What was thought of the people whom it treats differently.
        license: The model's own, an SPDX identifier or a name.
    """

    intended_use: str = ""
    out_of_scope: str = ""
    users: str = ""
    owner: str = ""
    risk: Literal["", "low", "medium", "high"] = ""
    mitigation: str = ""
    limitations: str = ""
    explanation: str = ""
    fairness: str = ""
    license: str = ""


class Parity(Record, frozen=True, kw_only=True):
    """What comparing the compiled graph with the original showed.

    Attributes:
        rows: Rows compared, those next to decision thresholds included.
        threshold_rows: How many of them lay next to a threshold.
        label_flips: Rows whose label differs.
        max_error: Largest absolute difference of a probability or prediction.
        tolerance: What `max_error` had to stay under.
        passed: The graph is used only if so.
        reason: Why not, in words; empty when it passed.
    """

    rows: int
    threshold_rows: int
    label_flips: int
    max_error: float
    tolerance: float
    passed: bool
    reason: str = ""


class Manifest(Record, frozen=True, kw_only=True):
    """What a package says of itself; its canonical bytes are what the package's digest digests.

    Attributes:
        format: Number of the package format; `penstock.packages.manifest.FORMAT` is today's.
        name: The model's name.
        kind: The format it came in: a name of the adapters' ``format`` table.
        engine: What runs it: a name of the adapters' ``engine`` table.
        entry: Path of the file the engine opens, inside the package.
        task: What it answers.
        classes: Class labels in the order of the probabilities; empty for a regression.
        files: Every file but the manifest and the signature, by path.
        parity: None where nothing was compiled.
        parameters: What the trainer said of the model (hyperparameters).
        source: Where the code came from: commit, repository, entry point; what is unknown is absent.
        declared: What the model is for, and who answers for it.
    """

    format: int
    name: str
    kind: str
    engine: str
    entry: str
    task: Literal["classification", "regression"]
    signature: Signature
    files: dict[str, FileEntry]
    classes: tuple[str | int | bool, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    lock_digest: str = ""
    parity: Parity | None = None
    parent: str = ""
    created_at: float = 0.0
    builder: str = ""
    parameters: dict[str, Scalar] = {}
    source: dict[str, str] = {}
    declared: Declared = Declared()


# -- the registry --------------------------------------------------------------------------------


class Version(Record, frozen=True, kw_only=True):
    """One package under a model's name, numbered from 1."""

    model: str
    version: int
    digest: str
    author: str
    created_at: float
    engine: str = ""
    parent: str = ""
    datasets: tuple[Dataset, ...] = ()

    @property
    def ref(self) -> str:
        """``name@3``."""
        return f"{self.model}@{self.version}"


class Approval(Record, frozen=True, kw_only=True):
    """A named person's yes to one version, over the digest of the evidence they saw."""

    model: str
    version: int
    digest: str
    role: str
    by: str
    evidence: str = ""
    comment: str = ""


class Event(Record, frozen=True, kw_only=True):
    """One line of the chain: what changed, by whom, and the hash of the line before.

    Attributes:
        seq: From 1, without holes.
        kind: ``stage.what_happened``.
        subject: What it is about (``model/flights``, ``endpoint/flights``): the unit of compare-and-set.
        generation: How many events the subject has, this one included.
        body: The record of that kind, as canonical JSON text.
        previous: Hash of event ``seq - 1``; 64 zeros for the first.
        hash: SHA-256 over all fields above, in hex.
        signature: Ed25519 over `hash`, in hex.
    """

    seq: int
    time: float
    actor: str
    kind: str
    subject: str
    generation: int
    body: str
    previous: str
    hash: str
    signature: str


class AliasMove(Record, frozen=True, kw_only=True):
    """A movable name now means this version of the model."""

    model: str
    alias: str
    version: int
    reason: str = ""


class Bypass(Record, frozen=True, kw_only=True):
    """Break-glass: one version may go to one endpoint without a passing verdict, until it expires."""

    model: str
    version: int
    endpoint: str
    reason: str
    expires_at: float


class Settled(Record, frozen=True, kw_only=True):
    """How a release ended: it is what runs, it was taken back, it never came up, or a newer one replaced it."""

    endpoint: str
    revision: int
    outcome: Literal["live", "rolled_back", "failed", "superseded"]
    reason: str = ""
    at: float = 0.0


class IdentityRecord(Record, frozen=True, kw_only=True):
    """A name and the roles it holds from now on; no roles means it may do nothing any more."""

    name: str
    roles: tuple[str, ...] = ()


class TokenRecord(Record, frozen=True, kw_only=True):
    """A token was issued; only its hash is kept.

    Attributes:
        token_sha256: Hex digest of the token.
        identity: Whose it is.
        permissions: Narrows what the identity's roles allow; empty means all they allow.
        endpoints: Empty means all.
        expires_at: 0 means never.
        rate_per_s: Requests for predictions a second; 0 means no limit.
        burst: How many of them may come at once.
    """

    token_sha256: str
    identity: str
    permissions: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    expires_at: float = 0.0
    rate_per_s: float = 0.0
    burst: int = 1


class TokenRevoked(Record, frozen=True, kw_only=True):
    """A token is worth nothing from now on."""

    token_sha256: str
    reason: str = ""


class PolicySet(Record, frozen=True, kw_only=True):
    """The gate's policy of that name is now this text; `digest` is ``sha256:<hex>`` of it."""

    name: str
    digest: str
    text: str = ""


class KeyRecord(Record, frozen=True, kw_only=True):
    """A public key that is trusted from now on, in PEM; `name` says what for (``packages``).

    Attributes:
        own: The home's own, which signs from now on; the one before it goes on vouching for what it signed.
    """

    name: str
    pem: str
    own: bool = False
    reason: str = ""

    @property
    def hint(self) -> str:
        """Hex SHA-256 of the PEM form: how a signature names its key."""
        return hashlib.sha256(self.pem.encode()).hexdigest()


class KeyRevoked(Record, frozen=True, kw_only=True):
    """Nothing that a key signed is trusted any more, whenever that was, and it is never trusted again.

    Attributes:
        hint: Hex SHA-256 of the key in PEM form.
        at: Since when somebody else may have had it, in seconds since the epoch; 0 where nobody knows.
    """

    name: str
    hint: str
    reason: str
    at: float = 0.0


class KeyRemoved(Record, frozen=True, kw_only=True):
    """A key is trusted no longer; nothing is said against it, and it may be trusted again."""

    name: str
    hint: str
    reason: str = ""


class Resigned(Record, frozen=True, kw_only=True):
    """A version's package bears another key's signature: its bytes are those that were registered.

    Attributes:
        signer: Hint of the key that signed it now.
        reason: Why whoever did it takes it for good.
    """

    model: str
    version: int
    digest: str
    signer: str
    reason: str


class Transfer(Record, frozen=True, kw_only=True):
    """A version's package went to another registry, or came from there.

    Attributes:
        digest: The package's.
        place: ``oci://HOST/REPOSITORY:TAG``.
        artifact: Digest of the artifact's manifest there.
    """

    model: str
    version: int
    digest: str
    place: str
    artifact: str


class SignedHead(Record, frozen=True, kw_only=True):
    """Where the chain stood at a time, signed; kept outside the home folder it finds a whole store rolled back.

    `signature` is Ed25519, in hex, over the canonical JSON of the fields above it.
    """

    seq: int
    hash: str
    time: float
    signature: str = ""


# -- the gate ------------------------------------------------------------------------------------

Outcomes = Literal["pass", "refuse", "unknown"]


class Finding(Record, frozen=True, kw_only=True):
    """What one check found.

    Attributes:
        check: Name in the adapters' ``check`` table.
        title: The question in the reader's words.
        outcome: ``unknown`` means not enough evidence ("not shown").
        blocking: Whether the policy lets this outcome block the verdict.
        message: The answer in one sentence, figures included.
        remedy: What to do about it; empty where all is well.
        measured: The figures the answer rests on, by name.
        limits: The policy's limits they were held against.
        evidence: Tables and curves for the report.
    """

    check: str
    title: str
    outcome: Outcomes
    message: str
    blocking: bool = True
    remedy: str = ""
    measured: dict[str, Scalar] = {}
    limits: dict[str, Scalar] = {}
    evidence: JSON = {}


class Verdict(Record, frozen=True, kw_only=True):
    """The gate's answer on one package under one policy."""

    model: str
    version: int
    digest: str
    outcome: Outcomes
    findings: tuple[Finding, ...]
    policy: str
    datasets: tuple[Dataset, ...] = ()
    champion: str = ""
    at: float = 0.0
    seconds: float = 0.0
    report: str = ""


# -- releases and the data plane -----------------------------------------------------------------


class Variant(Record, frozen=True, kw_only=True):
    """A version with its share of an endpoint's traffic.

    Attributes:
        name: ``stable``, ``canary``, ``shadow``: what it is in this release.
        share: Of the routing keys, 0 to 1; the shares of an endpoint's answering variants add to 1.
        shadow: It gets a copy of every request and answers nobody.
    """

    name: str
    model: str
    version: int
    digest: str
    share: float = 1.0
    shadow: bool = False

    @property
    def ref(self) -> str:
        """``name@3``."""
        return f"{self.model}@{self.version}"


class Batching(Record, frozen=True, kw_only=True):
    """How a model's runs are formed; 0 leaves the choice to what was measured when it was loaded.

    Attributes:
        mode: ``inline`` runs on the event loop, ``thread`` beside it; ``auto`` chooses by the measured time of a run.
            A model in the sandbox is another process in any case.
        rows: Rows in one run, unless a single request has more.
        delay_s: How long an idle engine waits for more rows; 0 means that what comes first runs at once.
        wait_s: The longest a request may expect to wait for its turn, by the measured pace; beyond it `Overloaded`.
            Unless it is set: a second, or eight runs where they take longer.
        processes: Copies of a model in the sandbox that run at one time.
        hang_s: A run in the sandbox that takes longer hangs: its process is ended. 0 means the endpoint's deadline.
    """

    mode: Literal["auto", "inline", "thread"] = "auto"
    rows: int = 0
    delay_s: float = 0.0
    wait_s: float = 0.0
    processes: int = 1
    hang_s: float = 0.0


class Sizing(Record, frozen=True, kw_only=True):
    """How much of the machine an endpoint's answers may take at one time.

    Attributes:
        threads: Of one run of a compiled model.
        workers: Processes of its data plane, the most that any of its endpoints has; 0 leaves it to the settings.
        providers: ONNX Runtime's execution providers for a compiled model, the first choice first
            (``CUDAExecutionProvider``); empty means the processor. One that is not there is an error, and so is work
            that falls back to the processor where ``CPUExecutionProvider`` is not among them.
        allow_cpu: Falling back to the processor is no error.
    """

    threads: int = 1
    workers: int = 0
    providers: tuple[str, ...] = ()
    allow_cpu: bool = False


class Limits(Record, frozen=True, kw_only=True):
    """What the data plane holds an endpoint to.

    Attributes:
        deadline_s: Time budget of a request that names none.
        queue: Requests that may wait; beyond it `Overloaded`.
        max_rows: Rows in one request.
        log: ``normal`` syncs the inference log each second, ``strict`` before it answers, ``off`` never writes.
        no_rows: A request of no rows is answered with no rows (``answer``), or refused.
        nan: How JSON answers say a number that JSON does not have: ``null``, or ``token`` (NaN, Infinity).
        batching: Of its models; two routes with one model go by the first one's.
        sizing: Threads and processes; of threads the same holds.
    """

    deadline_s: float = 10.0
    queue: int = 1024
    max_rows: int = 10_000
    log: Literal["normal", "strict", "off"] = "normal"
    no_rows: Literal["refuse", "answer"] = "refuse"
    nan: Literal["null", "token"] = "null"
    batching: Batching = Batching()
    sizing: Sizing = Sizing()


class Guards(Record, frozen=True, kw_only=True):
    """What a rollout must not make worse, and how sure the decision has to be.

    Attributes:
        alpha: Chance of rolling back a harmless candidate, split among the tests, however often one looks.
        share: The candidate's first share of the routing keys.
        steps: Shares it passes through before all traffic is its own.
        min_units: Routing keys the candidate must have answered at each step.
        latency_s: An answer slower than this is an exceedance.
        margin: A ratio of harm up to which a candidate counts as no worse; twice that must be excluded before it is
            promoted.
        wait_s: A step lasts at least this long, by the exchanges' event time.
        floor: A failure on fewer than this part of the candidate's routing keys does not hold up its promotion.
        shift: How many times more often than the stable version's the candidate's scores may fall into a
            twentieth of the stable version's range: a retrained model moves its scores, a broken one piles them up.
    """

    alpha: float = 0.05
    share: float = 0.1
    steps: tuple[float, ...] = (0.1, 0.5)
    min_units: int = 100
    latency_s: float = 0.1
    margin: float = 1.1
    wait_s: float = 0.0
    floor: float = 0.02
    shift: float = 4.0


class Release(Record, frozen=True, kw_only=True):
    """The wish, and an immutable revision of it: what should run, where, and under which guards.

    `thresholds` (decision thresholds by class) and `monitors` (names to settings) go back with the
    variants when a release is rolled back: a rollback is of the whole release.
    """

    endpoint: str
    revision: int
    variants: tuple[Variant, ...]
    strategy: str = "at-once"
    target: str = "local"
    limits: Limits = Limits()
    guards: Guards = Guards()
    thresholds: dict[str, float] = {}
    monitors: dict[str, Scalar] = {}
    previous: int = 0
    reason: str = ""
    by: str = ""
    at: float = 0.0
    bypass: str = ""


class Step(Record, frozen=True, kw_only=True):
    """One turn of a rollout: the variants that should answer now, and why.

    Attributes:
        phase: ``warming`` (loading beside the old one), ``shifting`` (a share of the traffic),
            ``live`` (all of it), ``rolled_back``, ``failed``.
        variants: The shares to apply.
        reason: In words, for the log and the console.
        measured: The figures the step was decided on.
    """

    endpoint: str
    revision: int
    phase: Literal["warming", "shifting", "live", "rolled_back", "failed"]
    variants: tuple[Variant, ...]
    reason: str = ""
    measured: dict[str, Scalar] = {}
    at: float = 0.0


class Grant(Record, frozen=True, kw_only=True):
    """A token as the data plane knows it: its hash, whose it is, and what it may do.

    Attributes:
        token_sha256: Hex digest of the token; the token itself is nowhere on disk but with its owner.
        permissions: Names such as ``predict``.
        endpoints: Empty means all.
        expires_at: 0 means never.
        rate_per_s: Requests for predictions a second that its subject may send, to all workers; 0 means no limit.
        burst: How many of them may come at once.
    """

    token_sha256: str
    subject: str
    permissions: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    expires_at: float = 0.0
    rate_per_s: float = 0.0
    burst: int = 1


class Route(Record, frozen=True, kw_only=True):
    """One endpoint as the data plane serves it.

    Attributes:
        variants: Answering variants first, in the order their shares are laid out; then shadows.
        warm: Digests kept loaded beside them, ready to be switched to.
        salt: Mixed into the hash of the routing key; the same for the whole of a rollout.
        public: On loopback, predictions need no token.
        source: Where it was taken from at run time, as its caller wrote it; empty where it comes with a release.
    """

    endpoint: str
    release: int
    variants: tuple[Variant, ...]
    warm: tuple[str, ...] = ()
    salt: str = ""
    limits: Limits = Limits()
    thresholds: dict[str, float] = {}
    public: bool = True
    source: str = ""


class Snapshot(Record, frozen=True, kw_only=True):
    """All the data plane needs beside package folders; written atomically, numbered upward."""

    number: int
    routes: tuple[Route, ...] = ()
    packages: dict[str, str] = {}
    """Digest -> folder, for every digest the routes name."""
    grants: tuple[Grant, ...] = ()
    written_at: float = 0.0


class WorkerStatus(Record, frozen=True, kw_only=True):
    """What one worker says of itself, in a file of its own, after every change.

    Attributes:
        snapshot: Number of the snapshot whose routes it answers by.
        ready: Digests loaded, warmed, and right on their golden examples.
        failed: Digest -> why it could not be made ready.
        codes: Digest -> the error's code, where it has one.
        draining: It answers what it holds and takes nothing new.
        resting: Number of the file of unloaded endpoints that it goes by.
        needs: Digest -> bytes of memory that the package was measured to take.
        troubles: Digest -> why a loaded package does not answer just now.
    """

    worker: int
    pid: int
    snapshot: int
    ready: tuple[str, ...] = ()
    failed: dict[str, str] = {}
    codes: dict[str, str] = {}
    draining: bool = False
    at: float = 0.0
    resting: int = 0
    needs: dict[str, int] = {}
    troubles: dict[str, str] = {}


Column = list[Scalar | list[object]]
"""One entry a row: a value, or a row of a matrix as a list."""


class Exchange(msgspec.Struct, frozen=True, array_like=True):
    """The record of one answered request of one or more rows; row i's prediction id is ``<id>.<i>``.

    Stored positionally: fields are only ever appended, and old readers ignore what they do not know.

    Attributes:
        id: Ours, unique.
        event_time: When it happened for the caller; `received_at` where they did not say.
        share: The variant's share when it was chosen.
        key: The routing key; the id where the caller gave none.
        latency_s: From the request's last byte to the answer handed to the kernel.
        code: ``ok`` or the error's code.
        inputs: Conformed inputs by name, one entry a row; empty where decoding failed.
        outputs: Outputs by name, one entry a row; empty on errors.
        shadow: Nobody was answered with it.
    """

    id: str
    endpoint: str
    release: int
    model: str
    version: int
    variant: str
    share: float
    key: str
    event_time: float
    received_at: float
    latency_s: float
    code: str
    rows: int
    inputs: dict[str, Column]
    outputs: dict[str, Column]
    client_id: str = ""
    shadow: bool = False
    subject: str = ""


# -- what happened, and what it meant ------------------------------------------------------------


class Measurement(Record, frozen=True, kw_only=True):
    """What a rollout guard knows so far: evidence against the candidate, and for it.

    Attributes:
        test: error, latency, invalid, shift, outcome_loss.
        against: E-value against "the candidate is no worse"; roll back at ``threshold``.
        supporting: E-value against "the candidate is worse by more than the margin".
        threshold: 1 / the test's part of alpha.
        units: Routing keys seen at the present share, by variant.
        failures: Units that failed at least once, by variant.
        requests: Requests seen, by variant.
        event_time: Watermark of the evidence.
        share: The candidate's share that `units` were counted at; they start again when it changes.
        began: Event time of the first request at this share.
    """

    endpoint: str
    release: int
    test: str
    against: float
    supporting: float
    threshold: float
    units: dict[str, int] = {}
    failures: dict[str, int] = {}
    requests: dict[str, int] = {}
    event_time: float = 0.0
    share: float = 0.0
    began: float = 0.0


class Outcome(Record, frozen=True, kw_only=True):
    """The truth about one prediction, as it came.

    Attributes:
        prediction: ``<id>.<row>``.
        value: Label or number.
        at: When it became true for the world (event time).
        received_at: When we learned of it.
        source: Who says so.
    """

    prediction: str
    value: str | int | float | bool
    at: float
    received_at: float = 0.0
    source: str = ""


class Incident(Record, frozen=True, kw_only=True):
    """What a monitor opens when a person is needed: one per endpoint and cause.

    Attributes:
        cause: Stable key (``calibration``, ``schema:temp``, ``rollout``).
        severity: ``page`` now, ``ticket`` today, ``record`` for the report only.
        effect: What it does to answers, with figures.
        guarantee: The false-alarm rate it was raised under, in words.
        closes: What has to be seen for it to close by itself.
        opened_at: Event time; so is `closed_at`, 0 while open.
    """

    endpoint: str
    cause: str
    severity: Literal["page", "ticket", "record"]
    title: str
    effect: str
    guarantee: str
    closes: str
    opened_at: float
    closed_at: float = 0.0
    evidence: JSON = {}


class Proposal(Record, frozen=True, kw_only=True):
    """What feedback proposes to do: a record, not an act."""

    endpoint: str
    action: Literal["retrain", "recalibrate", "rollback"]
    reason: str
    evidence: dict[str, Scalar] = {}
    at: float = 0.0


T = TypeVar("T")
_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode(record: object) -> bytes:
    """Canonical JSON: sorted keys, no spaces, defaults left out; equal records give equal bytes."""
    return _ENCODER.encode(record)


def decode(data: bytes | str, kind: type[T]) -> T:
    """Read a record back.

    Raises:
        Corrupt: The bytes are not such a record; the message names the field, not its value.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"not a {kind.__name__}: {error}", "restore it from a backup or another copy") from error
