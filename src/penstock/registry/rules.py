"""What must hold when an event is written: a table of pure rules, judged under the store's lock.

    state before, record, actor, time -> nothing, or a refusal

The same rules are judged again by `verify`, so an event that was written past them is found. Whether the
actor has the kind's permission is `judge`'s own first question; the token they came with may narrow it further,
which only the writer can know.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

from penstock.access.identities import Identity, require
from penstock.access.roles import ADMIN_ROLE, ROLES
from penstock.errors import Conflict, Forbidden, InvalidInput, NotFound
from penstock.packages.publickey import read_public
from penstock.records import (
    AliasMove,
    Approval,
    Bypass,
    IdentityRecord,
    Incident,
    KeyRecord,
    KeyRemoved,
    KeyRevoked,
    PolicySet,
    Record,
    Release,
    Resigned,
    Settled,
    Step,
    TokenRecord,
    TokenRevoked,
    Transfer,
    Variant,
    Verdict,
    Version,
)
from penstock.registry.events import NAME, entry_of
from penstock.registry.state import EndpointState, State

_HEX64 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ALIAS = re.compile(rf"(?![0-9]+$){NAME}")
_READ_AGAIN = "read the state again, then decide again"
_SHARE_ERROR = 1e-6
_SEVERITY = ("record", "ticket", "page")
"""An open incident is opened again only to say that it became more severe."""


class Case(NamedTuple):
    """What a rule judges beside the record: the state before the event, who acts, and when."""

    state: State
    actor: str
    time: float


def judge(state: State, kind: str, record: Record, *, actor: str, time: float) -> None:
    """Refuse an event that must not follow this state.

    Raises:
        Forbidden: The actor's roles do not allow it, or they act in another's name or on their own work.
        Conflict: The state has moved past it.
        NotFound: It speaks of what does not exist.
        InvalidInput: It contradicts itself.
    """
    entry = entry_of(kind)
    identity = state.identities.get(actor)
    if not state.identities:
        _found(kind, record, actor)
    elif identity is None:
        raise Forbidden("nobody of that name may write here", "ask an administrator to add the identity")
    else:
        require(Identity(name=actor, roles=identity.roles), entry.permission)
    named = getattr(record, entry.person) if entry.person else actor
    if named != actor:
        raise Forbidden("the record names somebody else as its author", f"put your own name into '{entry.person}'")
    rule = RULES.get(kind)
    if rule is not None:
        rule(record, Case(state, actor, time))


def _found(kind: str, record: Record, actor: str) -> None:
    """An empty registry begins with an administrator who names themselves, and with nothing else."""
    if kind != "identity.added" or not isinstance(record, IdentityRecord) or record.name != actor:
        raise Forbidden("the registry has no administrator yet", "open the home folder once with `penstock up`")
    if ADMIN_ROLE not in record.roles:
        raise Forbidden("the first identity must be an administrator", "give it the role 'admin'")


def _identity_added(record: IdentityRecord, case: Case) -> None:
    if not set(record.roles) <= set(ROLES):
        raise NotFound("there is no such role", f"the roles are {', '.join(ROLES)}")
    admins = {name for name, known in case.state.identities.items() if ADMIN_ROLE in known.roles}
    if admins == {record.name} and ADMIN_ROLE not in record.roles:
        raise Conflict("nobody would be left to administer this", "make somebody else an administrator first")


def _token_issued(record: TokenRecord, case: Case) -> None:
    if not _HEX64.fullmatch(record.token_sha256):
        raise InvalidInput("not the hash of a token", "pass its SHA-256 in hex", where="record.token_sha256")
    if case.state.generation(f"token/{record.token_sha256}"):
        raise Conflict("this token was issued before", "make a new one")
    owner = case.state.identities.get(record.identity)
    if owner is None:
        raise NotFound("there is no identity of that name", "add it first")
    allowed = Identity(name=owner.name, roles=owner.roles).permissions()
    if not set(record.permissions) <= allowed:
        raise Forbidden("a token cannot have more permissions than its owner", "give the owner another role first")


def _token_revoked(record: TokenRevoked, case: Case) -> None:
    if record.token_sha256 not in case.state.tokens:
        raise NotFound("there is no such token, or it is revoked already", "list the tokens")


def _key_added(record: KeyRecord, case: Case) -> None:
    try:
        canonical = read_public(record.pem.encode()).pem.decode()
    except ValueError as error:
        raise InvalidInput("not a key that signs packages", "give a package.pub", where="record.pem") from error
    if canonical != record.pem:
        raise InvalidInput("the key is not in the one form of PEM", "give a package.pub", where="record.pem")
    if record.hint in case.state.revoked:
        raise Conflict("this key was revoked, and is never trusted again", "use another key", code="keys.revoked")


def _key_revoked(record: KeyRevoked, case: Case) -> None:
    if not _HEX64.fullmatch(record.hint):
        raise InvalidInput("not the hint of a key", "pass the SHA-256 of its PEM form in hex", where="record.hint")
    if not record.reason.strip():
        raise InvalidInput("revoking a key needs a reason", "say why, in words", where="record.reason")
    if not 0 <= record.at <= case.time:
        raise InvalidInput("it was not known to others at a time to come", "leave it out", where="record.at")
    if record.hint in case.state.revoked:
        raise Conflict("this key is revoked already", "nothing is left to do")
    _not_the_signer(record, case)


def _key_removed(record: KeyRemoved, case: Case) -> None:
    if not any(one.hint == record.hint for one in case.state.keys.get(record.name, ())):
        raise NotFound("there is no trusted key of that hint", "list the keys")
    _not_the_signer(record, case)


def _not_the_signer(record: KeyRevoked | KeyRemoved, case: Case) -> None:
    """A home must be able to sign: another key takes over first."""
    if record.hint == case.state.signer(record.name):
        raise Conflict("this key signs what is packaged here", "run `penstock key rotate` first", code="keys.signs")


def _resigned(record: Resigned, case: Case) -> None:
    _same_digest(case.state, record.model, record.version, record.digest)
    if not record.reason.strip():
        raise InvalidInput("signing anew needs a reason", "say why it is taken for good", where="record.reason")
    if not any(one.hint == record.signer for keys in case.state.keys.values() for one in keys):
        raise NotFound("there is no trusted key of that hint", "list the keys")


def _policy_set(record: PolicySet, case: Case) -> None:
    _check_digest(record.digest)


def _version_registered(record: Version, case: Case) -> None:
    _check_digest(record.digest)
    model = case.state.models.get(record.model)
    following = len(model.versions) + 1 if model else 1
    if record.version != following:
        raise Conflict(f"the model's next version is {following}", _READ_AGAIN)


def _transferred(record: Transfer, case: Case) -> None:
    _same_digest(case.state, record.model, record.version, record.digest)
    _check_digest(record.artifact)


def _alias_moved(record: AliasMove, case: Case) -> None:
    case.state.version(record.model, record.version)
    if not _ALIAS.fullmatch(record.alias):
        raise InvalidInput(
            "an alias must not be a number", "use letters, digits, '.', '_' and '-'", where="record.alias"
        )


def _verdict_given(record: Verdict, case: Case) -> None:
    _same_digest(case.state, record.model, record.version, record.digest)


def _approval_given(record: Approval, case: Case) -> None:
    known = _same_digest(case.state, record.model, record.version, record.digest)
    if known.author == case.actor:
        raise Forbidden("who packaged a version cannot approve it", "ask somebody else", code="access.own_work")
    roles = case.state.identities[case.actor].roles
    if record.role not in roles and ADMIN_ROLE not in roles:
        raise Forbidden("you do not hold the role you approve as", f"your roles are {', '.join(roles)}")
    given = case.state.version(record.model, record.version).approvals
    if any(approval.by == case.actor and approval.role == record.role for approval in given):
        raise Conflict("you approved this version in that role already", "nothing is left to do")


def _gate_bypassed(record: Bypass, case: Case) -> None:
    case.state.version(record.model, record.version)
    if not record.reason.strip():
        raise InvalidInput("breaking the glass needs a reason", "say why, in words", where="record.reason")
    if record.expires_at <= case.time:
        raise InvalidInput("it would have expired already", "name a time to come", where="record.expires_at")


def _release_requested(record: Release, case: Case) -> None:
    endpoint = case.state.endpoints.get(record.endpoint, EndpointState())
    if record.revision != len(endpoint.releases) + 1:
        raise Conflict(f"the endpoint's next revision is {len(endpoint.releases) + 1}", _READ_AGAIN)
    _check_variants(record.variants, case.state)
    known = {variant.digest for release in endpoint.releases for variant in release.variants}
    for variant in record.variants:
        if variant.digest not in known:
            _through_the_gate(variant, record.endpoint, case)


def _rollback_requested(record: Release, case: Case) -> None:
    endpoint = case.state.endpoint(record.endpoint)
    known = {variant.digest for release in endpoint.releases for variant in release.variants}
    if not {variant.digest for variant in record.variants} <= known:
        raise Forbidden("a rollback goes back to what ran here before", "use a release for another version")
    _release_requested(record, case)


def _release_stepped(record: Step, case: Case) -> None:
    _known_revision(record.endpoint, record.revision, case.state)
    for variant in record.variants:
        _same_digest(case.state, variant.model, variant.version, variant.digest)


def _release_settled(record: Settled, case: Case) -> None:
    _known_revision(record.endpoint, record.revision, case.state)
    before = case.state.endpoint(record.endpoint).settled.get(record.revision)
    if before is not None and not (before.outcome == "live" and record.outcome in ("rolled_back", "superseded")):
        raise Conflict("this release is settled already", _READ_AGAIN)


def _incident_opened(record: Incident, case: Case) -> None:
    if record.closed_at:
        raise InvalidInput("an incident is not opened closed", "leave closed_at out", where="record.closed_at")
    known = case.state.endpoints.get(record.endpoint, EndpointState()).open_incidents().get(record.cause)
    if known is not None and _SEVERITY.index(record.severity) <= _SEVERITY.index(known.severity):
        raise Conflict("an incident of this cause is open already", "close it first, or leave it open")


def _incident_closed(record: Incident, case: Case) -> None:
    if not record.closed_at:
        raise InvalidInput("it does not say when it was closed", "set closed_at", where="record.closed_at")
    if record.cause not in case.state.endpoints.get(record.endpoint, EndpointState()).open_incidents():
        raise Conflict("no incident of this cause is open", _READ_AGAIN)


def _check_digest(digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise InvalidInput("not a digest", "write it as sha256:<64 hex digits>", where="record.digest")


def _same_digest(state: State, model: str, version: int, digest: str) -> Version:
    known = state.version(model, version).version
    if known.digest != digest:
        raise Conflict("that version is another package", _READ_AGAIN)
    return known


def _known_revision(endpoint: str, revision: int, state: State) -> None:
    if not 1 <= revision <= len(state.endpoint(endpoint).releases):
        raise NotFound("the endpoint has no such release", "request it first")


def _check_variants(variants: tuple[Variant, ...], state: State) -> None:
    for variant in variants:
        _same_digest(state, variant.model, variant.version, variant.digest)
    shares = [variant.share for variant in variants if not variant.shadow]
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > _SHARE_ERROR:
        raise InvalidInput("the answering variants' shares must add to 1", "change the shares", where="record.variants")
    if len({variant.name for variant in variants}) != len(variants):
        raise InvalidInput("two variants have one name", "name each once", where="record.variants")


def _through_the_gate(variant: Variant, endpoint: str, case: Case) -> None:
    """Nothing reaches an endpoint but through the gate, or through broken glass that has not expired."""
    known = case.state.version(variant.model, variant.version)
    if known.verdict is not None and known.verdict.outcome == "pass":
        return
    bypass = known.bypasses.get(endpoint)
    if bypass is None or bypass.expires_at <= case.time:
        raise Forbidden(
            f"{variant.ref} has no passing verdict", f"run `penstock check {variant.ref}`", code="gate.no_verdict"
        )


# Each rule takes the record that `events.KINDS` names for its kind; a kind that is not here has no rule of its own.
RULES: MappingProxyType[str, Callable[[Any, Case], None]] = MappingProxyType(
    {
        "identity.added": _identity_added,
        "token.issued": _token_issued,
        "token.revoked": _token_revoked,
        "key.added": _key_added,
        "key.revoked": _key_revoked,
        "key.removed": _key_removed,
        "policy.set": _policy_set,
        "version.registered": _version_registered,
        "package.pushed": _transferred,
        "package.pulled": _transferred,
        "package.resigned": _resigned,
        "alias.moved": _alias_moved,
        "verdict.given": _verdict_given,
        "approval.given": _approval_given,
        "gate.bypassed": _gate_bypassed,
        "release.requested": _release_requested,
        "rollback.requested": _rollback_requested,
        "release.stepped": _release_stepped,
        "release.settled": _release_settled,
        "incident.opened": _incident_opened,
        "incident.closed": _incident_closed,
    }
)
