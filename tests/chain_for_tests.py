"""A home with people and a history in it: every kind of event at least once."""

from __future__ import annotations

from pathlib import Path

from packages_for_tests import linear_package
from penstock.access.identities import Identity
from penstock.access.tokens import token_sha256
from penstock.build.sign import sign_folder
from penstock.packages.keys import load_or_create_package_key, new_package_key
from penstock.records import (
    AliasMove,
    Approval,
    Bypass,
    Dataset,
    Event,
    Incident,
    KeyRecord,
    KeyRemoved,
    KeyRevoked,
    PolicySet,
    Proposal,
    Record,
    Release,
    Resigned,
    Settled,
    Step,
    Transfer,
    Variant,
    Verdict,
    Version,
)
from penstock.registry.events import subject_of
from penstock.registry.registry import Registry
from penstock.registry.trust import keep_package

DIGEST = "sha256:" + "1" * 64
OTHER_DIGEST = "sha256:" + "2" * 64


def put(registry: Registry, kind: str, record: Record, *, by: Identity, expect: int | None = None) -> Event:
    """Append a record to the subject it is about."""
    return registry.append(kind, subject_of(kind, record), record, by=by, expect=expect)


def version(number: int = 1, *, model: str = "m", digest: str = DIGEST, author: str = "ann") -> Version:
    return Version(model=model, version=number, digest=digest, author=author, created_at=1.5)


def verdict(
    number: int = 1, *, model: str = "m", digest: str = DIGEST, outcome: str = "pass", report: str = ""
) -> Verdict:
    return Verdict(
        model=model, version=number, digest=digest, outcome=outcome, findings=(), policy="starter", report=report
    )  # type: ignore[arg-type]


def approval(
    number: int = 1, *, model: str = "m", digest: str = DIGEST, by: str = "bob", role: str = "approver"
) -> Approval:
    return Approval(model=model, version=number, digest=digest, role=role, by=by, comment="seen, 漢字")


def variant(number: int = 1, *, name: str = "stable", digest: str = DIGEST, share: float = 1.0) -> Variant:
    return Variant(name=name, model="m", version=number, digest=digest, share=share)


def release(revision: int = 1, *variants: Variant, by: str = "ann", endpoint: str = "e") -> Release:
    return Release(endpoint=endpoint, revision=revision, variants=variants or (variant(),), by=by)


def people(registry: Registry) -> dict[str, Identity]:
    """``ann`` operates, ``bob`` approves, ``eve`` looks on, ``root`` administers, ``penstock`` is itself."""
    root = registry.identity_of(registry.local_token())
    return {
        "root": root,
        "penstock": registry.system(),
        "ann": registry.add_identity("ann", ("operator",), by=root),
        "bob": registry.add_identity("bob", ("approver",), by=root),
        "eve": registry.add_identity("eve", ("viewer",), by=root),
    }


def keep_signed_package(registry: Registry, folder: Path) -> str:
    """A real package, signed with the home's key, in the registry; gives its digest."""
    linear_package(folder)
    sign_folder(folder, load_or_create_package_key(registry.home.keys))
    return keep_package(folder, registry.packages, registry.state()).digest


def write_history(registry: Registry, folder: Path, *, datasets: int = 7) -> dict[str, Identity]:
    """A model's whole way, with a package and a report that are really there."""
    who = people(registry)
    ann, bob, penstock = who["ann"], who["bob"], who["penstock"]
    digest = keep_signed_package(registry, folder)
    report = registry.reports.put_bytes(b"<html>all is well</html>", suffix=".html")
    for n in range(datasets):
        put(registry, "dataset.registered", Dataset(name=f"d{n % 7}", digest=DIGEST, rows=n), by=ann)
    put(registry, "policy.set", PolicySet(name="gate", digest=DIGEST, text="checks: []"), by=who["root"])
    put(registry, "version.registered", version(1, digest=digest), by=ann)
    moved = Transfer(model="m", version=1, digest=digest, place="oci://localhost/m:1", artifact=DIGEST)
    put(registry, "package.pushed", moved, by=ann)
    put(registry, "package.pulled", moved, by=ann)
    put(registry, "verdict.given", verdict(1, digest=digest, report=report), by=ann)
    put(registry, "approval.given", approval(1, digest=digest), by=bob)
    put(registry, "release.requested", release(1, variant(digest=digest)), by=ann)
    step = Step(endpoint="e", revision=1, phase="live", variants=(variant(digest=digest),))
    put(registry, "release.stepped", step, by=penstock)
    put(registry, "release.settled", Settled(endpoint="e", revision=1, outcome="live"), by=penstock)
    put(registry, "alias.moved", AliasMove(model="m", alias="champion", version=1), by=ann)
    put(registry, "version.registered", version(2, digest=digest), by=ann)
    bypass = Bypass(model="m", version=2, endpoint="e", reason="fire", expires_at=1e12)
    put(registry, "gate.bypassed", bypass, by=bob)
    put(registry, "release.requested", release(2, variant(2, digest=digest)), by=ann)
    put(registry, "rollback.requested", release(3, variant(digest=digest), by="bob"), by=bob)
    put(registry, "incident.opened", incident(), by=penstock)
    put(registry, "incident.closed", incident(closed_at=9.0), by=penstock)
    put(registry, "proposal.made", Proposal(endpoint="e", action="retrain", reason="drift"), by=penstock)
    other, lost = (new_package_key().public_key() for _ in range(2))
    put(registry, "key.added", KeyRecord(name="packages", pem=other.pem.decode()), by=who["root"])
    put(registry, "key.removed", KeyRemoved(name="packages", hint=other.hint), by=who["root"])
    put(registry, "key.revoked", KeyRevoked(name="packages", hint=lost.hint, reason="stolen", at=3.0), by=who["root"])
    signer = registry.state().signer("packages")
    anew = Resigned(model="m", version=1, digest=digest, signer=signer, reason="it was built before")
    put(registry, "package.resigned", anew, by=who["root"])
    registry.issue_token("eve", by=who["root"], expires_at=1e12)
    token = registry.issue_token("ann", by=who["root"], permissions=("predict",), endpoints=("e",))
    registry.revoke(token_sha256(token), by=who["root"], reason="lost")
    return who


def incident(*, cause: str = "schema", closed_at: float = 0.0) -> Incident:
    return Incident(
        endpoint="e",
        cause=cause,
        severity="ticket",
        title="a column changed",
        effect="none yet",
        guarantee="1 in 1000 days",
        closes="a week without it",
        opened_at=3.0,
        closed_at=closed_at,
    )
