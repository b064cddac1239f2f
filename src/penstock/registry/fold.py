"""How each kind of event changes the state: a table of pure functions.

    fold(state, events) -> state

What comes in: events whose seals were checked and whose rules were kept when they were written. What goes
out: the state after them; the one that came in is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

import msgspec

from penstock.records import (
    AliasMove,
    Approval,
    Bypass,
    Dataset,
    Event,
    IdentityRecord,
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
    TokenRecord,
    TokenRevoked,
    Transfer,
    Verdict,
    Version,
)
from penstock.registry.events import record_of
from penstock.registry.state import EndpointState, ModelState, State, VersionState

_ANSWERING = frozenset({"shifting", "live", "rolled_back"})


def fold(state: State, events: Iterable[Event]) -> State:
    """The state after these events too.

    Raises:
        Corrupt: A body is not the record of its kind.
    """
    for event in events:
        state = apply(state, event, record_of(event))
    return state


def apply(state: State, event: Event, record: Record) -> State:
    """The state after one more event, whose body is that record."""
    changed = FOLDS[event.kind](state, record)
    generations = state.generations | {event.subject: event.generation}
    return msgspec.structs.replace(changed, seq=event.seq, head=event.hash, generations=generations)


def _identity_added(state: State, record: IdentityRecord) -> State:
    return msgspec.structs.replace(state, identities=state.identities | {record.name: record})


def _token_issued(state: State, record: TokenRecord) -> State:
    return msgspec.structs.replace(state, tokens=state.tokens | {record.token_sha256: record})


def _token_revoked(state: State, record: TokenRevoked) -> State:
    tokens = {known: token for known, token in state.tokens.items() if known != record.token_sha256}
    return msgspec.structs.replace(state, tokens=tokens)


def _key_added(state: State, record: KeyRecord) -> State:
    known = state.keys.get(record.name, ())
    if any(one.pem == record.pem for one in known) and not record.own:
        return state
    # The first is the home's own in chains that do not say so.
    added = msgspec.structs.replace(record, own=record.own or not known)
    keys = (*(one for one in known if one.pem != record.pem), added)
    return msgspec.structs.replace(state, keys=state.keys | {record.name: keys})


def _key_revoked(state: State, record: KeyRevoked) -> State:
    revoked = state.revoked | {record.hint: record}
    return msgspec.structs.replace(_key_removed(state, record), revoked=revoked)


def _key_removed(state: State, record: KeyRemoved | KeyRevoked) -> State:
    keys = tuple(one for one in state.keys.get(record.name, ()) if one.hint != record.hint)
    return msgspec.structs.replace(state, keys=state.keys | {record.name: keys})


def _policy_set(state: State, record: PolicySet) -> State:
    return msgspec.structs.replace(state, policies=state.policies | {record.name: record})


def _dataset_registered(state: State, record: Dataset) -> State:
    datasets = (*state.datasets.get(record.name, ()), record)
    return msgspec.structs.replace(state, datasets=state.datasets | {record.name: datasets})


def _version_registered(state: State, record: Version) -> State:
    model = state.models.get(record.model, ModelState())
    return _with_model(state, record.model, versions=(*model.versions, VersionState(version=record)))


def _transferred(state: State, record: Transfer | Resigned) -> State:
    return state  # it is on record, and changes nothing here


def _alias_moved(state: State, record: AliasMove) -> State:
    aliases = state.models[record.model].aliases | {record.alias: record.version}
    return _with_model(state, record.model, aliases=aliases)


def _verdict_given(state: State, record: Verdict) -> State:
    return _with_version(state, record.model, record.version, verdict=record)


def _approval_given(state: State, record: Approval) -> State:
    approvals = (*state.version(record.model, record.version).approvals, record)
    return _with_version(state, record.model, record.version, approvals=approvals)


def _gate_bypassed(state: State, record: Bypass) -> State:
    bypasses = state.version(record.model, record.version).bypasses | {record.endpoint: record}
    return _with_version(state, record.model, record.version, bypasses=bypasses)


def _release_requested(state: State, record: Release) -> State:
    releases = (*state.endpoints.get(record.endpoint, EndpointState()).releases, record)
    return _with_endpoint(state, record.endpoint, releases=releases)


def _release_stepped(state: State, record: Step) -> State:
    endpoint = state.endpoints[record.endpoint]
    live = record.variants if record.phase in _ANSWERING else endpoint.live
    return _with_endpoint(state, record.endpoint, steps=(*endpoint.steps, record), live=live)


def _release_settled(state: State, record: Settled) -> State:
    settled = state.endpoints[record.endpoint].settled | {record.revision: record}
    return _with_endpoint(state, record.endpoint, settled=settled)


def _incident_changed(state: State, record: Incident) -> State:
    incidents = state.endpoints.get(record.endpoint, EndpointState()).incidents | {record.cause: record}
    return _with_endpoint(state, record.endpoint, incidents=incidents)


def _proposal_made(state: State, record: Proposal) -> State:
    proposals = (*state.endpoints.get(record.endpoint, EndpointState()).proposals, record)
    return _with_endpoint(state, record.endpoint, proposals=proposals)


def _with_model(state: State, name: str, **changes: object) -> State:
    changed = msgspec.structs.replace(state.models.get(name, ModelState()), **changes)
    return msgspec.structs.replace(state, models=state.models | {name: changed})


def _with_version(state: State, name: str, number: int, **changes: object) -> State:
    versions = list(state.models[name].versions)
    versions[number - 1] = msgspec.structs.replace(versions[number - 1], **changes)
    return _with_model(state, name, versions=tuple(versions))


def _with_endpoint(state: State, name: str, **changes: object) -> State:
    changed = msgspec.structs.replace(state.endpoints.get(name, EndpointState()), **changes)
    return msgspec.structs.replace(state, endpoints=state.endpoints | {name: changed})


# Each function takes the record that `events.KINDS` names for its kind; a test holds the two tables together.
FOLDS: MappingProxyType[str, Callable[[State, Any], State]] = MappingProxyType(
    {
        "identity.added": _identity_added,
        "token.issued": _token_issued,
        "token.revoked": _token_revoked,
        "key.added": _key_added,
        "key.revoked": _key_revoked,
        "key.removed": _key_removed,
        "policy.set": _policy_set,
        "dataset.registered": _dataset_registered,
        "version.registered": _version_registered,
        "package.pushed": _transferred,
        "package.pulled": _transferred,
        "package.resigned": _transferred,
        "alias.moved": _alias_moved,
        "verdict.given": _verdict_given,
        "approval.given": _approval_given,
        "gate.bypassed": _gate_bypassed,
        "release.requested": _release_requested,
        "rollback.requested": _release_requested,
        "release.stepped": _release_stepped,
        "release.settled": _release_settled,
        "incident.opened": _incident_changed,
        "incident.closed": _incident_changed,
        "proposal.made": _proposal_made,
    }
)
