"""Stage 4, serve: what callers may know of the endpoints: cards, readiness, metrics.

Comes in: the board and all workers' counters. Goes out: a `Catalogue` for the dialects, or Prometheus text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl

from penstock.errors import Forbidden
from penstock.records import Limits, Variant
from penstock.serve.board import PREDICT, READ, Board, ServedEndpoint, unauthenticated
from penstock.serve.calls import QUERY, Call, Reply
from penstock.serve.cards import BatchCount, Card, Catalogue, Duration, State, Statistics
from penstock.serve.enginelines import EngineSum
from penstock.serve.exposition import CONTENT_TYPE, exposition
from penstock.serve.lane import Lane
from penstock.serve.meters import Label, Sum, Totals, totals
from penstock.serve.protocol import Verb
from penstock.serve.resting import statuses

WORKERS = frozenset({"workers", "scale", "prefer", "enlist"})
"""Verbs whose answer tells of the workers."""
PLATFORMS = {"onnxruntime": "onnx_onnxv1", "python": "python"}


def catalogue(board: Board, meters: Path, call: Call, verb: Verb = "list") -> Catalogue:
    """The endpoints the caller may see.

    Args:
        board: What is live.
        meters: Folder of all workers' counters.
        call: Whose headers say who asks.
        verb: ``stats`` reads the counters, ``index`` how far the other workers are.
    """
    counted = totals(meters) if verb == "stats" else None
    visible = board.visible(call.headers, call.received_at)
    leaving = _leaving(board, meters.parent) if verb == "index" and board.resting else frozenset()
    cards = {name: _card(board, name, endpoint, counted=counted) for name, endpoint in visible.items()}
    for name in leaving & cards.keys():
        cards[name] = _absent(board, name, "UNLOADING")
    workers = tuple(statuses(meters.parent)) if verb in WORKERS else ()
    return Catalogue(cards, board.ready(), answers=board.answers(), workers=workers)


def metrics(board: Board, meters: Path, call: Call) -> Reply:
    """Prometheus text, for everybody where all endpoints are public, else for who may read.

    Raises:
        Forbidden: Some endpoint needs a token, and the caller has none that may read.
    """
    if not board.open():
        grant = board.grant(call.headers, call.received_at)
        if grant is None:
            raise unauthenticated()
        if READ not in grant.permissions and PREDICT not in grant.permissions:
            raise Forbidden("the token may not read metrics", "ask for one that may")
    own = {"penstock_ready": float(board.ready()), "penstock_snapshot": float(board.number)}
    digests = {
        (name, str(one.version)): one.digest
        for name, route in board.routes.items()
        for one in route.variants
        if not one.shadow
    }
    query = parse_qsl(call.headers.get(QUERY, b"").decode("ascii", "replace"))
    names = frozenset(value for name, value in query if name == "name[]")
    return Reply(200, exposition(meters, own, digests, names), CONTENT_TYPE)


def _card(board: Board, name: str, endpoint: ServedEndpoint | None, *, counted: Totals | None) -> Card:
    if endpoint is None:
        return _absent(board, name, "UNAVAILABLE" if name in board.asleep else "LOADING", counted=counted)
    engine = endpoint.manifest.engine
    trouble = next(filter(None, (arm.model.lane.trouble() for arm in endpoint.arms)), "")
    return Card(
        name,
        tuple(dict.fromkeys(arm.version for arm in endpoint.arms)),
        PLATFORMS.get(engine, engine),
        not trouble,
        endpoint.signature,
        "UNAVAILABLE" if trouble else "READY",
        trouble,
        endpoint.route.limits.max_rows,
        engine,
        _statistics(name, endpoint.route.variants, counted) if counted else (),
        endpoint.route.source,
        digests=_digests(endpoint.route.variants),
        limits=endpoint.route.limits,
        waiting=sum(arm.model.lane.depth() for arm in endpoint.arms),
        batch_rows=max(_batch_rows(arm.model.lane, endpoint.route.limits) for arm in endpoint.arms),
        labels={arm.variant.name: arm.version for arm in endpoint.arms},
    )


def _absent(board: Board, name: str, state: State, *, counted: Totals | None = None) -> Card:
    """An endpoint that does not answer, with the versions it would answer with and what they have done."""
    route = board.routes.get(name)
    variants = route.variants if route else ()
    versions = tuple(dict.fromkeys(str(one.version) for one in variants if not one.shadow))
    reason = "" if state == "LOADING" else "unloaded"
    statistics = _statistics(name, variants, counted) if counted else ()
    labels = {one.name: str(one.version) for one in variants if not one.shadow}
    return Card(
        name,
        versions,
        state=state,
        reason=reason,
        statistics=statistics,
        source=route.source if route else "",
        labels=labels,
        digests=_digests(variants),
        limits=route.limits if route else Limits(),
    )


def _digests(variants: Sequence[Variant]) -> tuple[str, ...]:
    """Of each answering version, in their order."""
    digests: dict[int, str] = {}
    for variant in variants:
        if not variant.shadow:
            digests.setdefault(variant.version, variant.digest)
    return tuple(digests.values())


def _batch_rows(lane: Lane, limits: Limits) -> int:
    return limits.batching.rows or lane.pace.batch_rows


def _leaving(board: Board, run: Path) -> frozenset[str]:
    """Endpoints that were unloaded, while a worker still answers for them."""
    behind = any(one.resting < board.rested for one in statuses(run))
    return board.asleep if behind else frozenset()


def _statistics(name: str, variants: Sequence[Variant], counted: Totals) -> tuple[Statistics, ...]:
    """One entry a version; what failed before a version was chosen counts for the first."""
    series = {label: one for label, one in counted.series.items() if label.endpoint == name}
    digests: dict[str, str] = {}
    for variant in variants:
        if not variant.shadow:
            digests.setdefault(str(variant.version), variant.digest)
    found: list[Statistics] = []
    for version, digest in digests.items():
        named = (version,) if found else (version, "")
        own = {label: one for label, one in series.items() if label.version in named}
        found.append(_of_version(version, own, counted.engines.get(digest)))
    return tuple(found)


def _of_version(version: str, series: dict[Label, Sum], engine: EngineSum | None) -> Statistics:
    good = [one for label, one in series.items() if label.code == "ok"]
    bad = [one for label, one in series.items() if label.code != "ok"]
    success, fail = _together(good), _together(bad)
    rows = sum(one.rows for one in good)
    if engine is None:
        return Statistics(version, 0, rows, 0, success, fail)
    times = (engine.queue_ns, engine.input_ns, engine.infer_ns, engine.output_ns)
    queue, given, infer, output = (Duration(engine.requests, ns) for ns in times)
    batches = tuple(BatchCount(*one) for one in engine.by_size())
    return Statistics(version, engine.last_ms, rows, engine.runs, success, fail, queue, given, infer, output, batches)


def _together(sums: list[Sum]) -> Duration:
    return Duration(sum(one.requests for one in sums), sum(one.total_ns for one in sums))
