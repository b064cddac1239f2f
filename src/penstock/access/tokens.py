"""Tokens: 256 random bits that say who somebody is; Penstock keeps only their hashes.

    owner -> token -> sha256 -> TokenRecord (an event) -> Grant (in the snapshot) -> the data plane finds it again

A hash without salt is enough here, because nobody can guess 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NamedTuple

from penstock.access.identities import Identity
from penstock.records import Grant, TokenRecord

PREFIX = "pst_"
"""So that scanners for leaked secrets can know one."""
_BYTES = 32


class Rate(NamedTuple):
    """How often a token may be used for predictions.

    Attributes:
        per_s: Requests a second, over all workers; 0 means no limit.
        burst: How many of them may come at once.
    """

    per_s: float = 0.0
    burst: int = 1


UNLIMITED = Rate()


def new_token() -> str:
    """A fresh token: 256 bits from the system's source, in URL-safe text."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def token_sha256(token: str) -> str:
    """The hex digest under which a token is known."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def same_hash(one: str, other: str) -> bool:
    """Compare two hex digests in a time that does not depend on where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def expired(expires_at: float, now: float) -> bool:
    """Whether that time is over; 0 means it never is."""
    return bool(expires_at) and now >= expires_at


def grant_of(token: TokenRecord, identity: Identity) -> Grant:
    """The token as the data plane knows it: with the permissions spelled out, no roles."""
    return Grant(
        token_sha256=token.token_sha256,
        subject=identity.name,
        permissions=tuple(sorted(identity.permissions())),
        endpoints=token.endpoints,
        expires_at=token.expires_at,
        rate_per_s=token.rate_per_s,
        burst=token.burst,
    )
