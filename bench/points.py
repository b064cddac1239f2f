"""What is claimed: each point compares one spot of ours with one or more spots of somebody else's.

point -> stage (which model, how many workers) -> spots (system, traffic, connections) -> figure -> must, aim
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Figure(Enum):
    """What is compared; for some less is better."""

    PER_CPU = "requests per CPU second"
    P50 = "p50"
    P99 = "p99"
    CPU = "CPU per request"
    START = "start to first right answer"
    MEMORY = "memory after load (PSS)"
    SIZE = "installed size"
    IDLE = "idle CPU"
    HOP = "CPU of the hop"
    ADDED = "CPU added to a request"
    LOST = "rows lost"
    BEHIND = "CPU a row behind the path"

    @property
    def more_is_better(self) -> bool:
        """Only of rates."""
        return self is Figure.PER_CPU

    @property
    def is_time(self) -> bool:
        """Whether it is a time of ours alone, which says nothing without the pace of the machine; see `YARDSTICK`."""
        return self in {Figure.HOP, Figure.ADDED, Figure.BEHIND}

    @property
    def unit(self) -> str:
        """Of the claim: most are ratios."""
        return " us" if self.is_time else {Figure.IDLE: " %", Figure.LOST: " rows"}.get(self, "x")


class Stage(NamedTuple):
    """Servers that are up at the same time.

    Attributes:
        model: All serve it.
        workers: Processes of each; with more than one nothing is pinned.
        what: In words.
    """

    model: str
    workers: int
    what: str


STAGES: dict[str, Stage] = {
    "core": Stage("trees", 1, "100 gradient-boosted trees, 20 numbers"),
    "frameworks": Stage("trees", 1, "100 gradient-boosted trees, 20 numbers"),
    "images": Stage("images", 1, "residual network, 602 KB image"),
    "grpc": Stage("trees", 1, "100 gradient-boosted trees, 20 numbers, gRPC"),
    "two": Stage("trees", 2, "100 gradient-boosted trees, 20 numbers, two workers on two CPUs"),
    "start": Stage("trees", 1, "cold start and memory"),
    "capture": Stage("trees", 1, "5,000 rows a second for a minute, then the log is read"),
    "python": Stage("python", 1, "a scikit-learn pipeline that does not compile"),
    "hop": Stage("idle", 1, "a Python model that does next to nothing, in the sandbox and directly"),
    "everyday": Stage("everyday", 1, "a fused pipeline over 10 numbers and 5 texts"),
}


REFERENCE = frozenset((
    "penstock", "penstock_simd", "penstock_unlogged", "hello", "ort",
    "fastapi", "fastapi_images", "fastapi_everyday", "mosec", "triton",
))  # fmt: skip
"""Systems of `make bench`."""


class Spot(NamedTuple):
    """One measurement: who is asked, for what, over how many connections (0: no load)."""

    system: str
    traffic: str = ""
    connections: int = 0

    def __str__(self) -> str:
        return " ".join(str(part) for part in self if part)


class Claim(NamedTuple):
    """One line of the table.

    Attributes:
        point: P1 .. P14.
        stage: Where its spots are measured.
        what: In words.
        figure: What is compared.
        ours: Our spot.
        theirs: The spots that it is compared with; their CPU times add up. Empty where the figure stands alone.
        must: What has to hold.
        aim: Where it is going.
    """

    point: str
    stage: str
    what: str
    figure: Figure
    ours: Spot
    theirs: tuple[Spot, ...]
    must: float
    aim: float

    @property
    def reference(self) -> bool:
        """Whether `make bench` measures it; the others are `make bench-all`'s."""
        return all(spot.system in REFERENCE for spot in (self.ours, *self.theirs))


_V2_1, _V2_16, _V2_64 = (Spot("penstock", "v2", connections) for connections in (1, 16, 64))
_FASTAPI_1, _FASTAPI_16, _FASTAPI_64 = (Spot("fastapi", "rows", connections) for connections in (1, 16, 64))
YARDSTICK = _FASTAPI_16
YARDSTICK_US = 178.0
"""A time that stands alone is given as on a machine where FastAPI + ONNX Runtime takes this much CPU for a request.

It is the machine on which the musts in microseconds were set; others, and the same one on another day, take up to three
times as long for anything. Both are measured in the same run.
"""
_EVERYDAY = Spot("fastapi_everyday", "record", 16)
_GRPC = Spot("penstock_grpc", "v2_grpc", 16)
_STARTED, _FASTAPI_STARTED = Spot("penstock", "v2"), Spot("fastapi", "rows")
_MLFLOW_1, _MLFLOW_16 = Spot("mlflow", "invocations", 1), Spot("mlflow", "invocations", 16)
_PYTHON_1, _PYTHON_16 = Spot("penstock_python", "v2", 1), Spot("penstock_python", "v2", 16)
_LINE = (Spot("hello", "fixed", 16), Spot("ort"))


def _rate(point: str, stage: str, what: str, spots: tuple[Spot, ...], *, must: float, aim: float) -> Claim:
    """Requests per CPU second of the first spot over the others."""
    return Claim(point, stage, what, Figure.PER_CPU, spots[0], spots[1:], must, aim)


def _framework(what: str, theirs: Spot, *, must: float, aim: float) -> Claim:
    return _rate("P5", "frameworks", f"V2 JSON, 1 row, c16 against {what}", (_V2_16, theirs), must=must, aim=aim)


CLAIMS: tuple[Claim, ...] = (
    _rate("P1", "core", "V2 JSON, 1 row, c16 against FastAPI + ORT", (_V2_16, _FASTAPI_16), must=6.5, aim=8),
    Claim("P1", "core", "c16 against FastAPI + ORT, p99", Figure.P99, _V2_16, (_FASTAPI_16,), 0.5, 0.3),
    _rate("P2", "core", "V2 JSON, 1 row, c16 against mosec", (_V2_16, Spot("mosec", "rows", 16)), must=2.3, aim=3),
    _rate("P2", "core", "V2 JSON, 1 row, c16 against Triton", (_V2_16, Spot("triton", "v2", 16)), must=3.7, aim=5),
    Claim("P3", "core", "c1 against FastAPI + ORT, p50", Figure.P50, _V2_1, (_FASTAPI_1,), 0.45, 0.35),
    _rate("P4", "core", "c64 against FastAPI + ORT", (_V2_64, _FASTAPI_64), must=6.5, aim=9),
    Claim("P4", "core", "c64 against FastAPI + ORT, p99", Figure.P99, _V2_64, (_FASTAPI_64,), 0.2, 0.05),
    _framework("MLflow", _MLFLOW_16, must=60, aim=80),
    _framework("BentoML", Spot("bentoml", "rows", 16), must=40, aim=55),
    _framework("LitServe", Spot("litserve", "rows", 16), must=35, aim=45),
    _framework("MLServer", Spot("mlserver", "v2_mlserver", 16), must=35, aim=45),
    _framework("KServe", Spot("kserve", "v2", 16), must=20, aim=28),
    _rate("P6", "core", "c16 against 1/(1/hello + 1/ort)", (_V2_16, *_LINE), must=0.9, aim=1.2),
    _rate(
        "P7", "core", "V2 binary row, c16 against FastAPI + ORT", (Spot("penstock", "v2_binary", 16), _FASTAPI_16),
        must=5, aim=6,
    ),
    Claim(
        "P8", "images", "602 KB tensor, binary, c4: CPU against the bare ONNX Runtime call", Figure.CPU,
        Spot("penstock", "v2_binary", 4), (Spot("ort"),), 1.25, 1.15,
    ),
    _rate(
        "P8", "images", "602 KB tensor as JSON, c4 against FastAPI's JSON",
        (Spot("penstock_simd", "v2", 4), Spot("fastapi_images", "v2", 4)), must=2.5, aim=3,
    ),
    _rate(
        "P9", "grpc", "V2 gRPC, 1 row, c16 against grpcio.aio", (_GRPC, Spot("grpcio", "v2_grpc", 16)), must=5, aim=8
    ),
    _rate(
        "P9", "grpc", "V2 gRPC, 1 row, c16 against Triton gRPC", (_GRPC, Spot("triton_grpc", "v2_grpc", 16)),
        must=2.5, aim=3.5,
    ),
    _rate("P10", "two", "two workers, two CPUs, c64 against FastAPI with two", (_V2_64, _FASTAPI_64), must=6, aim=8),
    Claim("P10", "two", "two workers, two CPUs, c64, p99", Figure.P99, _V2_64, (_FASTAPI_64,), 0.2, 0.1),
    Claim("P11", "start", "start to first right answer", Figure.START, _STARTED, (_FASTAPI_STARTED,), 0.6, 0.4),
    Claim("P11", "start", "memory after load", Figure.MEMORY, _STARTED, (_FASTAPI_STARTED,), 1.1, 0.8),
    Claim("P11", "start", "idle CPU", Figure.IDLE, _STARTED, (), 0.5, 0),
    Claim("P11", "start", "installed size of the base wheel", Figure.SIZE, _STARTED, (_FASTAPI_STARTED,), 1, 0.9),
    _rate(
        "P12", "python", "a Python model in the sandbox, c16 with batching, against MLflow", (_PYTHON_16, _MLFLOW_16),
        must=5, aim=8,
    ),
    _rate(
        "P12", "python", "a Python model in the sandbox, c1, against MLflow", (_PYTHON_1, _MLFLOW_1), must=1.8, aim=2.5
    ),
    Claim("P12", "hop", "CPU of the hop", Figure.HOP, Spot("hop"), (), 80, 50),
    Claim(
        "P13", "core", "inference log on the request path, c16", Figure.ADDED, _V2_16,
        (Spot("penstock_unlogged", "v2", 16),), 3, 2,
    ),
    Claim("P13", "capture", "rows lost at 5,000 rows/s for 60 s", Figure.LOST, _STARTED, (), 0, 0),
    Claim("P13", "capture", "CPU behind the path, a row", Figure.BEHIND, _STARTED, (), 10, 5),
    _rate(
        "P14", "everyday", "named columns as V2 JSON, c16 against FastAPI + pydantic", (_V2_16, _EVERYDAY),
        must=4, aim=6,
    ),
    _rate(
        "P14", "everyday", "named columns as V1 instances, c16 against FastAPI + pydantic",
        (Spot("penstock", "v1", 16), _EVERYDAY), must=4, aim=6,
    ),
    _rate("P14", "everyday", "V2 JSON, c16 against MLflow dataframe_records", (_V2_16, _MLFLOW_16), must=40, aim=60),
)  # fmt: skip

_COLD = tuple(
    Spot(system, traffic)
    for system, traffic in (
        ("mosec", "rows"), ("triton", "v2"), ("kserve", "v2"), ("litserve", "rows"), ("mlserver", "v2_mlserver"),
        ("bentoml", "rows"), ("mlflow", "invocations"), ("torchserve", "rows"), ("ray", "rows"),
    )
)  # fmt: skip

BESIDE: dict[str, tuple[Spot, ...]] = {
    "core": (Spot("bare", "fixed", 16), Spot("mosec", "rows", 1), Spot("mosec", "rows", 64)),
    "frameworks": (_FASTAPI_16, Spot("torchserve", "rows", 16), Spot("ray", "rows", 16)),
    "images": (Spot("fastapi_images", "raw", 4),),
    "start": _COLD,
    "python": (Spot("hop"),),
}
"""Measured along for the whole picture; nothing is claimed of them."""


def stages_of(claims: list[Claim]) -> list[str]:
    """Where to measure, in the claims' order; the yardstick's stage first where it is needed."""
    first = ["core"] if any(claim.figure.is_time for claim in claims) else []
    return list(dict.fromkeys([*first, *(claim.stage for claim in claims)]))


def spots_of(stage: str, claims: list[Claim]) -> list[Spot]:
    """What to measure in a stage, each once, in the claims' order."""
    wanted = [spot for claim in claims if claim.stage == stage for spot in (claim.ours, *claim.theirs)]
    if stage == "core" and any(claim.figure.is_time for claim in claims):
        wanted.append(YARDSTICK)
    points = {claim.point for claim in claims}
    # A framework takes its time to start: only who measures frameworks waits for that.
    if stage == "frameworks" or ("P5" if stage == "start" else "P2") in points:
        wanted += BESIDE.get(stage, ())
    return list(dict.fromkeys(wanted))
