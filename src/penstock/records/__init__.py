"""The frozen nouns that travel between stages: what one stage hands to the next is one of these.

    package -> Manifest      gate -> Finding, Verdict      registry -> Version, Dataset, Approval, Event
    release -> Release, Variant, Step                      serve <- Snapshot -> WorkerStatus, Exchange
    observe -> Measurement, Incident                       feedback -> Outcome, Proposal

All are `msgspec` structs: immutable, typed, equal by value, and written to disk or to the wire by
`encode` and read back by `decode`. Times are seconds since the epoch (UTC); durations end in ``_s``.
A struct whose fields change in a way old readers cannot read gets a new format number where it is stored.
"""

from __future__ import annotations

from penstock.records.exchange import Column, Exchange
from penstock.records.gate import Finding, Outcomes, Verdict
from penstock.records.observation import Incident, Measurement, Outcome, Proposal
from penstock.records.package import (
    AppliedStep,
    AppliedTransforms,
    ColumnSummary,
    Dataset,
    Declared,
    FileEntry,
    Manifest,
    Parity,
)
from penstock.records.record import JSON, Record, Scalar, decode, encode
from penstock.records.registry import (
    AliasMove,
    Approval,
    Bypass,
    Event,
    IdentityRecord,
    KeyRecord,
    KeyRemoved,
    KeyRevoked,
    PolicySet,
    Resigned,
    Settled,
    SignedHead,
    TokenRecord,
    TokenRevoked,
    Transfer,
    Version,
)
from penstock.records.release import Batching, Guards, Limits, Release, Sizing, Step, Variant
from penstock.records.serving import Grant, Route, Snapshot, WorkerStatus

__all__ = [
    "JSON",
    "AliasMove",
    "AppliedStep",
    "AppliedTransforms",
    "Approval",
    "Batching",
    "Bypass",
    "Column",
    "ColumnSummary",
    "Dataset",
    "Declared",
    "Event",
    "Exchange",
    "FileEntry",
    "Finding",
    "Grant",
    "Guards",
    "IdentityRecord",
    "Incident",
    "KeyRecord",
    "KeyRemoved",
    "KeyRevoked",
    "Limits",
    "Manifest",
    "Measurement",
    "Outcome",
    "Outcomes",
    "Parity",
    "PolicySet",
    "Proposal",
    "Record",
    "Release",
    "Resigned",
    "Route",
    "Scalar",
    "Settled",
    "SignedHead",
    "Sizing",
    "Snapshot",
    "Step",
    "TokenRecord",
    "TokenRevoked",
    "Transfer",
    "Variant",
    "Verdict",
    "Version",
    "WorkerStatus",
    "decode",
    "encode",
]
