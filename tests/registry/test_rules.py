"""The rules: each refusal once, by the rule that owns it; and what they let through."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from chain_for_tests import (
    OTHER_DIGEST,
    approval,
    incident,
    put,
    release,
    variant,
    verdict,
    version,
)
from penstock.access.identities import Identity
from penstock.access.tokens import new_token, token_sha256
from penstock.errors import Conflict, Forbidden, InvalidInput, NotFound
from penstock.records import (
    AliasMove,
    Bypass,
    IdentityRecord,
    PolicySet,
    Settled,
    Step,
    TokenRecord,
    TokenRevoked,
)
from penstock.registry.events import KINDS
from penstock.registry.registry import Registry
from penstock.registry.rules import RULES, judge
from penstock.registry.state import State

Who = dict[str, Identity]


@pytest.fixture
def packaged(registry: Registry, who: Who) -> Registry:
    """``m@1`` by ann, with a passing verdict, running at endpoint ``e``; ``m@2`` by ann, not judged."""
    put(registry, "version.registered", version(), by=who["ann"])
    put(registry, "verdict.given", verdict(), by=who["ann"])
    put(registry, "release.requested", release(), by=who["ann"])
    put(registry, "version.registered", version(2, digest=OTHER_DIGEST), by=who["ann"])
    return registry


def test_every_rule_has_a_kind() -> None:
    assert set(RULES) <= set(KINDS)


REFUSED: list[tuple[str, str, object, type[Exception]]] = [
    # who did it
    ("version.registered", "ann", version(3, author="bob"), Forbidden),
    ("approval.given", "bob", approval(by="root"), Forbidden),
    ("release.requested", "ann", release(2, by=""), Forbidden),
    ("release.requested", "ann", release(2, by="bob"), Forbidden),
    # versions
    ("version.registered", "ann", version(2), Conflict),
    ("version.registered", "ann", version(4), Conflict),
    ("version.registered", "ann", version(2, model="n"), Conflict),
    ("version.registered", "ann", version(3, digest="sha256:x"), InvalidInput),
    ("alias.moved", "ann", AliasMove(model="m", alias="champion", version=3), NotFound),
    ("alias.moved", "ann", AliasMove(model="m", alias="champion", version=0), NotFound),
    ("alias.moved", "ann", AliasMove(model="x", alias="champion", version=1), NotFound),
    ("alias.moved", "ann", AliasMove(model="m", alias="12", version=1), InvalidInput),
    ("alias.moved", "ann", AliasMove(model="m", alias="a/b", version=1), InvalidInput),
    ("verdict.given", "ann", verdict(digest=OTHER_DIGEST), Conflict),
    ("verdict.given", "ann", verdict(3), NotFound),
    # approvals
    ("approval.given", "bob", approval(digest=OTHER_DIGEST), Conflict),
    ("approval.given", "bob", approval(role="admin"), Forbidden),
    ("approval.given", "bob", approval(9), NotFound),
    # break-glass
    ("gate.bypassed", "bob", Bypass(model="m", version=1, endpoint="e", reason=" ", expires_at=2e3), InvalidInput),
    ("gate.bypassed", "bob", Bypass(model="m", version=1, endpoint="e", reason="r", expires_at=1e3), InvalidInput),
    ("gate.bypassed", "bob", Bypass(model="m", version=7, endpoint="e", reason="r", expires_at=2e3), NotFound),
    # releases
    ("release.requested", "ann", release(1), Conflict),
    ("release.requested", "ann", release(3), Conflict),
    ("release.requested", "ann", release(2, variant(digest=OTHER_DIGEST)), Conflict),
    ("release.requested", "ann", release(2, variant(share=0.5)), InvalidInput),
    ("release.requested", "ann", release(2, variant(share=0.5), variant(share=0.5)), InvalidInput),
    ("release.requested", "ann", release(2, variant(share=2.0), variant(name="b", share=-1.0)), InvalidInput),
    ("release.requested", "ann", release(2, msgspec.structs.replace(variant(), shadow=True)), InvalidInput),
    ("release.requested", "ann", release(2, variant(2, digest=OTHER_DIGEST)), Forbidden),
    ("rollback.requested", "bob", release(2, variant(2, digest=OTHER_DIGEST), by="bob"), Forbidden),
    ("rollback.requested", "bob", release(1, by="bob", endpoint="new"), NotFound),
    ("release.stepped", "ann", Step(endpoint="e", revision=2, phase="live", variants=(variant(),)), NotFound),
    ("release.stepped", "ann", Step(endpoint="x", revision=1, phase="live", variants=(variant(),)), NotFound),
    ("release.settled", "ann", Settled(endpoint="e", revision=2, outcome="live"), NotFound),
    # incidents
    ("incident.opened", "ann", incident(closed_at=5.0), InvalidInput),
    ("incident.closed", "ann", incident(closed_at=5.0), Conflict),
    ("incident.closed", "ann", incident(), InvalidInput),
    # identities and tokens
    ("identity.added", "root", IdentityRecord(name="x", roles=("king",)), NotFound),
    ("identity.added", "root", IdentityRecord(name="admin", roles=("viewer",)), Conflict),
    ("token.issued", "root", TokenRecord(token_sha256="a" * 64, identity="nobody"), NotFound),
    ("token.issued", "root", TokenRecord(token_sha256="pst_secret", identity="eve"), InvalidInput),
    ("token.issued", "root", TokenRecord(token_sha256="a" * 64, identity="eve", permissions=("admin",)), Forbidden),
    ("token.revoked", "root", TokenRevoked(token_sha256="a" * 64), NotFound),
    ("policy.set", "root", PolicySet(name="gate", digest="x"), InvalidInput),
]


@pytest.mark.parametrize(("kind", "name", "record", "error"), REFUSED)
def test_refused(packaged: Registry, who: Who, kind: str, name: str, record: object, error: type[Exception]) -> None:
    before = packaged.state()
    with pytest.raises(error) as caught:
        put(packaged, kind, record, by=who[name])  # type: ignore[arg-type]
    assert type(caught.value) is error
    assert packaged.state() == before


def test_who_packaged_never_approves_not_even_as_administrator(registry: Registry, who: Who) -> None:
    put(registry, "version.registered", version(author="admin"), by=who["root"])
    with pytest.raises(Forbidden) as caught:
        put(registry, "approval.given", approval(by="admin", role="admin"), by=who["root"])
    assert caught.value.code == "access.own_work"


def test_a_second_token_is_the_same_person(registry: Registry, who: Who) -> None:
    registry.add_identity("ann", ("operator", "approver"), by=who["root"])
    packager = registry.identity_of(registry.issue_token("ann", by=who["root"], permissions=("package",)))
    approver = registry.identity_of(registry.issue_token("ann", by=who["root"], permissions=("approve",)))
    put(registry, "version.registered", version(), by=packager)
    with pytest.raises(Forbidden) as caught:
        put(registry, "approval.given", approval(by="ann"), by=approver)
    assert caught.value.code == "access.own_work"
    put(registry, "approval.given", approval(), by=who["bob"])


def test_an_approval_counts_once(packaged: Registry, who: Who) -> None:
    put(packaged, "approval.given", approval(), by=who["bob"])
    with pytest.raises(Conflict):
        put(packaged, "approval.given", approval(), by=who["bob"])
    assert len(packaged.state().version("m", 1).approvals) == 1


def test_nothing_goes_out_but_through_the_gate_or_broken_glass(packaged: Registry, who: Who, clock: object) -> None:
    wish = release(2, variant(2, digest=OTHER_DIGEST))
    for outcome in ("refuse", "unknown"):
        put(packaged, "verdict.given", verdict(2, digest=OTHER_DIGEST, outcome=outcome), by=who["ann"])
        with pytest.raises(Forbidden) as caught:
            put(packaged, "release.requested", wish, by=who["ann"])
        assert caught.value.code == "gate.no_verdict"
    for endpoint, expires_at in (("other", 2000.0), ("e", 1001.0)):
        glass = Bypass(model="m", version=2, endpoint=endpoint, reason="fire", expires_at=expires_at)
        put(packaged, "gate.bypassed", glass, by=who["bob"])
    clock.now = 1001.0  # type: ignore[attr-defined]
    with pytest.raises(Forbidden):
        put(packaged, "release.requested", wish, by=who["ann"])
    clock.now = 1000.5  # type: ignore[attr-defined]
    put(packaged, "release.requested", wish, by=who["ann"])


def test_a_rollback_needs_no_new_verdict(packaged: Registry, who: Who) -> None:
    put(packaged, "verdict.given", verdict(outcome="refuse"), by=who["ann"])
    put(packaged, "rollback.requested", release(2, by="bob"), by=who["bob"])


def test_what_is_settled_stays_but_for_what_was_live(packaged: Registry, who: Who) -> None:
    def settle(outcome: str) -> Callable[[], object]:
        record = Settled(endpoint="e", revision=1, outcome=outcome)  # type: ignore[arg-type]
        return lambda: put(packaged, "release.settled", record, by=who["penstock"])

    settle("live")()
    with pytest.raises(Conflict):
        settle("live")()
    settle("rolled_back")()
    with pytest.raises(Conflict):
        settle("live")()
    assert packaged.state().endpoint("e").stable is None


def test_one_incident_a_cause(registry: Registry, who: Who) -> None:
    put(registry, "incident.opened", incident(), by=who["penstock"])
    with pytest.raises(Conflict):
        put(registry, "incident.opened", incident(), by=who["penstock"])
    put(registry, "incident.opened", incident(cause="other"), by=who["penstock"])
    put(registry, "incident.closed", incident(closed_at=5.0), by=who["penstock"])
    assert set(registry.state().endpoint("e").open_incidents()) == {"other"}
    put(registry, "incident.opened", incident(), by=who["penstock"])


def test_an_open_incident_may_become_more_severe_but_not_less(registry: Registry, who: Who) -> None:
    put(registry, "incident.opened", incident(), by=who["penstock"])
    put(registry, "incident.opened", msgspec.structs.replace(incident(), severity="page"), by=who["penstock"])
    for severity in ("page", "ticket", "record"):
        with pytest.raises(Conflict):
            put(registry, "incident.opened", msgspec.structs.replace(incident(), severity=severity), by=who["penstock"])
    assert [one.severity for one in registry.state().endpoint("e").open_incidents().values()] == ["page"]


def test_a_revoked_token_is_never_issued_again(registry: Registry, who: Who) -> None:
    record = TokenRecord(token_sha256=token_sha256(new_token()), identity="eve")
    put(registry, "token.issued", record, by=who["root"])
    put(registry, "token.revoked", TokenRevoked(token_sha256=record.token_sha256), by=who["root"])
    with pytest.raises(Conflict):
        put(registry, "token.issued", record, by=who["root"])


def test_an_empty_registry_begins_with_an_administrator_who_names_themselves() -> None:
    for actor, kind, record in (
        ("ann", "identity.added", IdentityRecord(name="bob", roles=("admin",))),
        ("ann", "identity.added", IdentityRecord(name="ann", roles=("viewer",))),
        ("ann", "version.registered", version()),
    ):
        with pytest.raises(Forbidden):
            judge(State(), kind, record, actor=actor, time=0.0)
    judge(State(), "identity.added", IdentityRecord(name="ann", roles=("admin",)), actor="ann", time=0.0)
