"""Tokens: long, hashed, found again, expired."""

from __future__ import annotations

import subprocess
import sys

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from penstock.access.identities import Identity
from penstock.access.tokens import expired, grant_of, new_token, same_hash, token_sha256
from penstock.records import Grant, TokenRecord


def test_a_token_has_256_bits_and_is_never_the_same() -> None:
    made = {new_token() for _ in range(1000)}
    assert len(made) == 1000
    assert all(token.startswith("pst_") and len(token) == 4 + 43 for token in made)


@given(st.text())
def test_any_text_has_a_hash(text: str) -> None:
    assert same_hash(token_sha256(text), token_sha256(text))
    assert not same_hash(token_sha256(text), token_sha256(text + "x"))


def test_a_surrogate_from_a_header_has_a_hash() -> None:
    assert not same_hash(token_sha256("pst_\udc80"), token_sha256("pst_"))


def test_expiry() -> None:
    assert not expired(0.0, 1e12)
    assert not expired(10.0, 9.9)
    assert expired(10.0, 10.0)


def test_a_grant_spells_permissions_out() -> None:
    token = new_token()
    record = TokenRecord(token_sha256=token_sha256(token), identity="ann", endpoints=("flights",), expires_at=10.0)
    record = msgspec.structs.replace(record, rate_per_s=50.0, burst=5)
    grant = grant_of(record, Identity(name="ann", roles=("viewer",)))
    assert grant == Grant(
        token_sha256=token_sha256(token),
        subject="ann",
        permissions=("read",),
        endpoints=("flights",),
        expires_at=10.0,
        rate_per_s=50.0,
        burst=5,
    )


def test_tokens_are_light() -> None:
    """The data plane imports this part: it may load nothing heavy."""
    code = "import sys, penstock.access.tokens, penstock.access.keys; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"sqlalchemy", "yaml", "pandas", "scipy", "pydantic", "fastapi"}
