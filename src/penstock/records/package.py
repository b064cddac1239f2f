"""What a package says of itself: its files, its data, what was declared of it, and how well its graph answers."""

from __future__ import annotations

from typing import Literal

from penstock.records.record import Record, Scalar
from penstock.tensors import Signature


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


class AppliedStep(Record, frozen=True, kw_only=True):
    """One declared step of a package.

    Attributes:
        stage: Before the model or behind it.
        name: Of the adapters' ``preprocess`` or ``postprocess`` table.
        columns: That it acts on, before the model.
        learned_from: Part of the data, and how many rows of it; empty where nothing was learned.
    """

    stage: Literal["before", "after"]
    name: str
    columns: tuple[str, ...] = ()
    learned_from: str = ""


class AppliedTransforms(Record, frozen=True, kw_only=True):
    """What stands before and behind a package's model; what it learned is in ``transforms.json``.

    Attributes:
        steps: In their order.
        fused: They are part of the graph; otherwise they run beside the model in the sandbox.
        classes: As the model itself names them, and its data may; empty where they have no other names.
    """

    steps: tuple[AppliedStep, ...]
    fused: bool = False
    classes: tuple[str | int | bool, ...] = ()


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
        providers: ONNX Runtime's execution providers for a compiled model, the first choice first; a release that
            names some of its own goes by those. Empty means the processor.
        allow_cpu: Falling back from them to the processor is no error.
        transforms: What stands before and behind it; None for nothing.
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
    providers: tuple[str, ...] = ()
    allow_cpu: bool = False
    transforms: AppliedTransforms | None = None
