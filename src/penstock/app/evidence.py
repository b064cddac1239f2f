"""The chain of evidence: from one prediction back to everything that stands behind it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from penstock.access.identities import require
from penstock.access.keys import read_public
from penstock.access.permissions import READ
from penstock.app.app import App
from penstock.errors import NotFound
from penstock.log.tables import compact, views
from penstock.records import (
    Approval,
    Bypass,
    Dataset,
    Outcome,
    Record,
    Release,
    Scalar,
    Verdict,
    Version,
)
from penstock.registry.heads import read_head
from penstock.registry.verify import Verification, verify

_COLUMNS = (
    "prediction, endpoint, release, model, version, variant, share, key, event_time, latency_s, code, inputs, outputs"
)

_FIND = f"SELECT {_COLUMNS} FROM exchanges WHERE prediction = ? AND NOT shadow"  # noqa: S608 (no value of a caller's)


class LoggedPrediction(Record, frozen=True, kw_only=True):
    """One row of the inference log: who answered, when, what went in and what came out."""

    prediction: str
    endpoint: str
    release: int
    model: str
    version: int
    variant: str
    share: float
    key: str
    event_time: float
    latency_s: float
    code: str
    inputs: dict[str, Scalar | list[Scalar]] = {}
    outputs: dict[str, Scalar | list[Scalar]] = {}


class Trace(Record, frozen=True, kw_only=True):
    """All that stands behind one prediction, each with the event that recorded it.

    Attributes:
        prediction: ``<id>.<row>``.
        events: What the trace rests on -> the event's seq and hash.
        missing: What no record shows, in words.
    """

    prediction: str
    line: LoggedPrediction
    release: Release | None = None
    version: Version | None = None
    package: str = ""
    lock: str = ""
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
    line = _find(app, prediction) if identifier and row.isdigit() else None
    if line is None:
        raise NotFound(
            "no such prediction is in the log", "give the id that came with the answer", code="app.no_prediction"
        )
    return _behind(app, line)


def _find(app: App, prediction: str) -> LoggedPrediction | None:
    """The prediction's line in the log, the journals included."""
    compact(app.home / "log")
    with views(app.home / "log") as connection:
        found = connection.execute(_FIND, [prediction])
        row = found.fetchone()
    if row is None:
        return None
    known = dict(zip(_COLUMNS.split(", "), row, strict=True))
    known |= {name: msgspec.json.decode(known[name]) for name in ("inputs", "outputs")}
    return msgspec.convert(known, LoggedPrediction)


def _outcomes(app: App, prediction: str) -> tuple[Outcome, ...]:
    """What was said of it, in order of arrival."""
    with views(app.home / "log") as connection:
        found = connection.execute(
            'SELECT value, "at", received_at, source FROM outcomes WHERE prediction = ? ORDER BY received_at',
            [prediction],
        ).fetchall()
    return tuple(
        Outcome(prediction=prediction, value=msgspec.json.decode(value), at=at, received_at=received, source=source)
        for value, at, received, source in found
    )


def _behind(app: App, line: LoggedPrediction) -> Trace:
    """What the registry and the package say of the version that answered."""
    state = app.state()
    known = state.version(line.model, line.version)
    manifest = app.open_package(known.version.digest).manifest
    releases = [one for one in state.endpoint(line.endpoint).releases if one.revision == line.release]
    missing = [] if known.verdict else ["no gate verdict was recorded"]
    missing += [] if known.approvals else ["nobody approved it"]
    missing += [] if manifest.source else ["the package names no source"]
    return Trace(
        prediction=line.prediction,
        line=line,
        release=releases[0] if releases else None,
        version=known.version,
        package=known.version.digest,
        lock=manifest.lock_digest,
        source=manifest.source,
        datasets=known.version.datasets,
        verdict=known.verdict,
        approvals=known.approvals,
        bypass=known.bypasses.get(line.endpoint),
        outcomes=_outcomes(app, line.prediction),
        events=_events(app, line, known.version),
        missing=tuple(missing),
    )


def _events(app: App, line: LoggedPrediction, version: Version) -> dict[str, str]:
    """The events the trace rests on: kind -> ``seq hash``; of approvals and steps the newest."""
    found: dict[str, str] = {}
    for event in app.registry.events(subject=f"model/{line.model}"):
        if event.kind in ("version.registered", "verdict.given", "approval.given", "gate.bypassed"):
            about = msgspec.json.decode(event.body, type=_AboutVersion)
            if about.version == version.version:
                found[event.kind] = f"{event.seq} {event.hash}"
    for event in app.registry.events(subject=f"endpoint/{line.endpoint}"):
        about_release = msgspec.json.decode(event.body, type=_AboutRelease)
        if about_release.revision == line.release:
            found[event.kind] = f"{event.seq} {event.hash}"
    return found


class _AboutVersion(msgspec.Struct):
    """The part of a body that says which version it is about."""

    version: int


class _AboutRelease(msgspec.Struct):
    """The part of a body that says which release it is about."""

    revision: int


def verify_home(home: Path, *, public_key: Path | None = None, head: Path | None = None) -> Verification:
    """Walk the whole chain and every package offline.

    Args:
        home: The home, or a copy of it.
        public_key: A trusted copy of the chain's key; the home's own where none is given.
        head: A signed head kept elsewhere, to find a store that was rolled back whole.
    """
    keys = (read_public(public_key),) if public_key else ()
    return verify(home, keys, head=read_head(head) if head else None)
