"""What the registry holds: versions, approvals, and the events of which its state is a fold."""

from __future__ import annotations

import hashlib
from typing import Literal

from penstock.records.package import Dataset
from penstock.records.record import Record


class Version(Record, frozen=True, kw_only=True):
    """One package under a model's name, numbered from 1."""

    model: str
    version: int
    digest: str
    author: str
    created_at: float
    engine: str = ""
    parent: str = ""
    datasets: tuple[Dataset, ...] = ()

    @property
    def ref(self) -> str:
        """``name@3``."""
        return f"{self.model}@{self.version}"


class Approval(Record, frozen=True, kw_only=True):
    """A named person's yes to one version, over the digest of the evidence they saw."""

    model: str
    version: int
    digest: str
    role: str
    by: str
    evidence: str = ""
    comment: str = ""


class Event(Record, frozen=True, kw_only=True):
    """One line of the chain: what changed, by whom, and the hash of the line before.

    Attributes:
        seq: From 1, without holes.
        kind: ``stage.what_happened``.
        subject: What it is about (``model/flights``, ``endpoint/flights``): the unit of compare-and-set.
        generation: How many events the subject has, this one included.
        body: The record of that kind, as canonical JSON text.
        previous: Hash of event ``seq - 1``; 64 zeros for the first.
        hash: SHA-256 over all fields above, in hex.
        signature: Ed25519 over `hash`, in hex.
    """

    seq: int
    time: float
    actor: str
    kind: str
    subject: str
    generation: int
    body: str
    previous: str
    hash: str
    signature: str


class AliasMove(Record, frozen=True, kw_only=True):
    """A movable name now means this version of the model."""

    model: str
    alias: str
    version: int
    reason: str = ""


class Bypass(Record, frozen=True, kw_only=True):
    """Break-glass: one version may go to one endpoint without a passing verdict, until it expires."""

    model: str
    version: int
    endpoint: str
    reason: str
    expires_at: float


class Settled(Record, frozen=True, kw_only=True):
    """How a release ended: it is what runs, it was taken back, it never came up, or a newer one replaced it."""

    endpoint: str
    revision: int
    outcome: Literal["live", "rolled_back", "failed", "superseded"]
    reason: str = ""
    at: float = 0.0


class IdentityRecord(Record, frozen=True, kw_only=True):
    """A name and the roles it holds from now on; no roles means it may do nothing any more."""

    name: str
    roles: tuple[str, ...] = ()


class TokenRecord(Record, frozen=True, kw_only=True):
    """A token was issued; only its hash is kept.

    Attributes:
        token_sha256: Hex digest of the token.
        identity: Whose it is.
        permissions: Narrows what the identity's roles allow; empty means all they allow.
        endpoints: Empty means all.
        expires_at: 0 means never.
        rate_per_s: Requests for predictions a second; 0 means no limit.
        burst: How many of them may come at once.
    """

    token_sha256: str
    identity: str
    permissions: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    expires_at: float = 0.0
    rate_per_s: float = 0.0
    burst: int = 1


class TokenRevoked(Record, frozen=True, kw_only=True):
    """A token is worth nothing from now on."""

    token_sha256: str
    reason: str = ""


class PolicySet(Record, frozen=True, kw_only=True):
    """The gate's policy of that name is now this text; `digest` is ``sha256:<hex>`` of it."""

    name: str
    digest: str
    text: str = ""


class KeyRecord(Record, frozen=True, kw_only=True):
    """A public key that is trusted from now on, in PEM; `name` says what for (``packages``).

    Attributes:
        own: The home's own, which signs from now on; the one before it goes on vouching for what it signed.
    """

    name: str
    pem: str
    own: bool = False
    reason: str = ""

    @property
    def hint(self) -> str:
        """Hex SHA-256 of the PEM form: how a signature names its key."""
        return hashlib.sha256(self.pem.encode()).hexdigest()


class KeyRevoked(Record, frozen=True, kw_only=True):
    """Nothing that a key signed is trusted any more, whenever that was, and it is never trusted again.

    Attributes:
        hint: Hex SHA-256 of the key in PEM form.
        at: Since when somebody else may have had it, in seconds since the epoch; 0 where nobody knows.
    """

    name: str
    hint: str
    reason: str
    at: float = 0.0


class KeyRemoved(Record, frozen=True, kw_only=True):
    """A key is trusted no longer; nothing is said against it, and it may be trusted again."""

    name: str
    hint: str
    reason: str = ""


class Resigned(Record, frozen=True, kw_only=True):
    """A version's package bears another key's signature: its bytes are those that were registered.

    Attributes:
        signer: Hint of the key that signed it now.
        reason: Why whoever did it takes it for good.
    """

    model: str
    version: int
    digest: str
    signer: str
    reason: str


class Transfer(Record, frozen=True, kw_only=True):
    """A version's package went to another registry, or came from there.

    Attributes:
        digest: The package's.
        place: ``oci://HOST/REPOSITORY:TAG``.
        artifact: Digest of the artifact's manifest there.
    """

    model: str
    version: int
    digest: str
    place: str
    artifact: str


class SignedHead(Record, frozen=True, kw_only=True):
    """Where the chain stood at a time, signed; kept outside the home folder it finds a whole store rolled back.

    `signature` is Ed25519, in hex, over the canonical JSON of the fields above it.
    """

    seq: int
    hash: str
    time: float
    signature: str = ""
