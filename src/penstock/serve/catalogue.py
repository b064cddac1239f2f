"""Stage 4, serve: what callers may know of the endpoints: cards, readiness, metrics.

Comes in: the board and all workers' counters. Goes out: a `Catalogue` for the dialects, or Prometheus text.
"""

from __future__ import annotations

from pathlib import Path

from penstock.errors import Forbidden
from penstock.serve.board import PREDICT, READ, Board, ServedEndpoint, unauthenticated
from penstock.serve.exposition import CONTENT_TYPE, exposition
from penstock.serve.meters import Totals, totals
from penstock.serve.protocol import Call, Card, Catalogue, Reply

PLATFORMS = {"onnxruntime": "onnx_onnxruntime", "python": "python"}


def catalogue(board: Board, meters: Path, call: Call) -> Catalogue:
    """The endpoints the caller may see."""
    counted = totals(meters) if call.path.endswith("/stats") else None
    cards = {
        name: _card(name, endpoint, counted) for name, endpoint in board.visible(call.headers, call.received_at).items()
    }
    return Catalogue(cards, board.ready())


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
    return Reply(200, exposition(meters, own), CONTENT_TYPE)


def _card(name: str, endpoint: ServedEndpoint | None, counted: Totals | None) -> Card:
    if endpoint is None:
        return Card(name)
    platform = PLATFORMS.get(endpoint.manifest.engine, endpoint.manifest.engine)
    versions = tuple(dict.fromkeys(arm.version for arm in endpoint.arms))
    return Card(name, versions, platform, True, endpoint.signature, _counts(name, counted))


def _counts(name: str, counted: Totals | None) -> tuple[int, int, float]:
    lines = [] if counted is None else [(k.code, one) for k, one in counted.series.items() if k.endpoint == name]
    answered = sum(one.requests for code, one in lines if code == "ok")
    failed = sum(one.requests for code, one in lines if code != "ok")
    return int(answered), int(failed), sum(one.total_s for code, one in lines if code == "ok")
