"""What may be written down: the table of event kinds, and how one event is sealed and checked.

    record -> check_form -> seal: hash over all fields, signature over the hash -> store
    store -> check_seal: link to the event before, hash, signature -> record_of

A hash is SHA-256 over the canonical JSON of all of an event's fields but `hash` and `signature`.
"""

from __future__ import annotations

import hashlib
import re
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from penstock.access.keys import PublicKey, SigningKey
from penstock.access.permissions import (
    ADMIN,
    APPROVE,
    BYPASS,
    CHECK,
    INCIDENT,
    PACKAGE,
    RELEASE,
    ROLLBACK,
)
from penstock.errors import Corrupt, InvalidInput, NotFound
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
    decode,
    encode,
)

FIRST_PREVIOUS = "0" * 64
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What a model, dataset, endpoint, identity or alias may be called: an id, never a path."""
_SUBJECT = re.compile(rf"[a-z]+/{NAME}(/incidents|/proposals)?")


class EventKind(NamedTuple):
    """One line of the table.

    Attributes:
        record: What the body holds.
        permission: What the actor needs.
        subject: The unit of compare-and-set, as a format over the record.
        person: The record's field that must name the actor; empty where it names nobody.
    """

    record: type[Record]
    permission: str
    subject: str
    person: str = ""


KINDS = MappingProxyType(
    {
        "identity.added": EventKind(IdentityRecord, ADMIN, "identity/{0.name}"),
        "token.issued": EventKind(TokenRecord, ADMIN, "token/{0.token_sha256}"),
        "token.revoked": EventKind(TokenRevoked, ADMIN, "token/{0.token_sha256}"),
        "key.added": EventKind(KeyRecord, ADMIN, "key/{0.name}"),
        "key.revoked": EventKind(KeyRevoked, ADMIN, "key/{0.name}"),
        "key.removed": EventKind(KeyRemoved, ADMIN, "key/{0.name}"),
        "policy.set": EventKind(PolicySet, ADMIN, "policy/{0.name}"),
        "dataset.registered": EventKind(Dataset, PACKAGE, "dataset/{0.name}"),
        "version.registered": EventKind(Version, PACKAGE, "model/{0.model}", "author"),
        "package.pushed": EventKind(Transfer, PACKAGE, "transfer/{0.model}"),
        "package.pulled": EventKind(Transfer, PACKAGE, "transfer/{0.model}"),
        "package.resigned": EventKind(Resigned, ADMIN, "signature/{0.model}"),
        "alias.moved": EventKind(AliasMove, RELEASE, "model/{0.model}"),
        "verdict.given": EventKind(Verdict, CHECK, "model/{0.model}"),
        "approval.given": EventKind(Approval, APPROVE, "model/{0.model}", "by"),
        "gate.bypassed": EventKind(Bypass, BYPASS, "model/{0.model}"),
        "release.requested": EventKind(Release, RELEASE, "endpoint/{0.endpoint}", "by"),
        "rollback.requested": EventKind(Release, ROLLBACK, "endpoint/{0.endpoint}", "by"),
        "release.stepped": EventKind(Step, RELEASE, "endpoint/{0.endpoint}"),
        "release.settled": EventKind(Settled, RELEASE, "endpoint/{0.endpoint}"),
        "incident.opened": EventKind(Incident, INCIDENT, "endpoint/{0.endpoint}/incidents"),
        "incident.closed": EventKind(Incident, INCIDENT, "endpoint/{0.endpoint}/incidents"),
        "proposal.made": EventKind(Proposal, INCIDENT, "endpoint/{0.endpoint}/proposals"),
    }
)
"""Kind -> what it holds, who may, and what it is about. To add one: a line here, one in each of rules and state."""


def entry_of(kind: str) -> EventKind:
    """The table's line of a kind.

    Raises:
        NotFound: There is no such kind.
    """
    entry = KINDS.get(kind)
    if entry is None:
        raise NotFound("there is no such kind of event", f"the kinds are {', '.join(KINDS)}", code="registry.kind")
    return entry


def subject_of(kind: str, record: Record) -> str:
    """What an event of that kind with that record is about."""
    return entry_of(kind).subject.format(record)


def check_form(kind: str, subject: str, record: Record) -> str:
    """The canonical body of an event, once kind, subject and record fit each other.

    Raises:
        NotFound: The kind is unknown.
        InvalidInput: The record is another kind's, the subject another record's, a name is no name, or a
            number is one that JSON cannot hold.
    """
    entry = entry_of(kind)
    if type(record) is not entry.record:
        raise InvalidInput(f"{kind} takes a {entry.record.__name__}", "pass the record of that kind", where="record")
    if subject != subject_of(kind, record):
        raise InvalidInput("the record is about another subject", f"it has the form {entry.subject}", where="subject")
    if not _SUBJECT.fullmatch(subject):
        raise InvalidInput("a name is not usable", "use letters, digits, '.', '_' and '-', at most 64", where="subject")
    body = encode(record)
    try:
        decode(body, entry.record)
    except Corrupt as error:
        raise InvalidInput("the record does not survive JSON", "replace NaN and infinity", where="record") from error
    return body.decode()


def hash_of(event: Event) -> str:
    """SHA-256 over all fields above `hash`, in hex."""
    fields = msgspec.structs.asdict(event)
    del fields["hash"], fields["signature"]
    return hashlib.sha256(encode(fields)).hexdigest()


def seal(event: Event, key: SigningKey) -> Event:
    """The event with its hash and signature."""
    digest = hash_of(event)
    return msgspec.structs.replace(event, hash=digest, signature=key.sign(digest.encode()))


def check_seal(event: Event, seq: int, previous: str, key: PublicKey) -> None:
    """Hold one event against the place it stands in.

    Args:
        event: As stored.
        seq: The number it must have.
        previous: The hash of the event before it.
        key: Whose signature it must carry.

    Raises:
        Corrupt: It is not the event that was written there; the message names the number and the field.
    """
    wrong = ""
    if event.seq != seq:
        wrong = "seq"
    elif event.previous != previous:
        wrong = "previous"
    elif event.hash != hash_of(event):
        wrong = "hash"
    elif not key.verify(event.hash.encode(), event.signature):
        wrong = "signature"
    if wrong:
        raise Corrupt(
            f"event {seq}: {wrong} is not what was written",
            "run `penstock verify`; restore the registry from a backup",
            where=f"events[{seq}].{wrong}",
        )


def record_of(event: Event) -> Record:
    """The record in an event's body.

    Raises:
        Corrupt: The body is not the record of the event's kind, or the kind is unknown.
    """
    entry = KINDS.get(event.kind)
    if entry is None:
        raise Corrupt(
            f"event {event.seq}: its kind is unknown",
            "a newer Penstock wrote it: upgrade",
            where=f"events[{event.seq}]",
        )
    return decode(event.body, entry.record)
