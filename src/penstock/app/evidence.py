"""The chain of evidence: from one prediction back to everything that stands behind it."""

from __future__ import annotations

from pathlib import Path

from penstock.access.identities import require
from penstock.access.keys import read_public
from penstock.access.permissions import READ
from penstock.app.app import App
from penstock.errors import NotFound
from penstock.log.tables import find_exchange, outcomes_of
from penstock.records import (
    Approval,
    Bypass,
    Dataset,
    Exchange,
    Outcome,
    Record,
    Release,
    Verdict,
    Version,
)
from penstock.registry.heads import read_head
from penstock.registry.verify import Verification, verify


class Trace(Record, frozen=True, kw_only=True):
    """All that stands behind one prediction, each with the event that recorded it.

    Attributes:
        prediction: ``<id>.<row>``.
        events: What the trace rests on -> the event's seq and hash.
        missing: What no record shows, in words.
    """

    prediction: str
    exchange: Exchange
    row: int
    release: Release | None = None
    version: Version | None = None
    package: str = ""
    lock: str = ""
    signer: str = ""
    source: dict[str, str] = {}
    datasets: tuple[Dataset, ...] = ()
    verdict: Verdict | None = None
    approvals: tuple[Approval, ...] = ()
    bypass: Bypass | None = None
    outcomes: tuple[Outcome, ...] = ()
    events: dict[str, str] = {}
    missing: tuple[str, ...] = ()


def trace(app: App, prediction: str) -> Trace:
    """Walk from a prediction to version, package, data, code, gate report and approvals.

    Raises:
        NotFound: No such prediction is in the log.
        Untrusted: The package on disk is not the one that answered.
    """
    require(app.identity, READ)
    identifier, _, row = prediction.rpartition(".")
    exchange = find_exchange(app.home / "log", identifier) if row.isdigit() else None
    if exchange is None or int(row) >= exchange.rows:
        raise NotFound(
            "no such prediction is in the log", "give the id that came with the answer", code="app.no_prediction"
        )
    return _behind(app, prediction, exchange)


def _behind(app: App, prediction: str, exchange: Exchange) -> Trace:
    """What the registry and the package say of the version that answered."""
    state = app.state()
    known = state.resolve(f"{exchange.model}@{exchange.version}")
    manifest = app.open_package(known.version.digest).manifest
    releases = [one for one in state.endpoint(exchange.endpoint).releases if one.revision == exchange.release]
    missing = [] if known.verdict else ["no gate verdict was recorded"]
    missing += [] if known.approvals else ["nobody approved it"]
    missing += [] if manifest.source else ["the package names no source"]
    return Trace(
        prediction=prediction,
        exchange=exchange,
        row=int(prediction.rpartition(".")[2]),
        release=releases[0] if releases else None,
        version=known.version,
        package=known.version.digest,
        lock=manifest.lock_digest,
        source=manifest.source,
        datasets=known.version.datasets,
        verdict=known.verdict,
        approvals=known.approvals,
        bypass=known.bypasses.get(exchange.endpoint),
        outcomes=tuple(outcomes_of(app.home / "log", prediction)),
        events=_events(app, exchange),
        missing=tuple(missing),
    )


def _events(app: App, exchange: Exchange) -> dict[str, str]:
    """The events the trace rests on: kind -> ``seq hash``, the newest of each kind."""
    found: dict[str, str] = {}
    for subject in (f"model/{exchange.model}", f"endpoint/{exchange.endpoint}"):
        for event in app.registry.events(subject=subject):
            found[event.kind] = f"{event.seq} {event.hash}"
    return found


def verify_home(home: Path, *, public_key: Path | None = None, head: Path | None = None) -> Verification:
    """Walk the whole chain and every package offline.

    Args:
        home: The home, or a copy of it.
        public_key: A trusted copy of the chain's key; the home's own where none is given.
        head: A signed head kept elsewhere, to find a store that was rolled back whole.
    """
    keys = (read_public(public_key),) if public_key else ()
    return verify(home, keys, head=read_head(head) if head else None)
