"""Who there is, and their tokens."""

from __future__ import annotations

from penstock.access.tokens import UNLIMITED, Rate
from penstock.app.app import App
from penstock.records import IdentityRecord, TokenRevoked


def give_token(app: App, name: str, roles: tuple[str, ...], *, expires_at: float = 0.0, rate: Rate = UNLIMITED) -> str:
    """Give an identity its roles and a new token.

    Returns:
        The token; only its hash is kept, so this is the one time it can be read.

    Raises:
        Forbidden: The caller is no administrator.
        NotFound: One of the roles does not exist.
    """
    known = app.state().identities.get(name)
    if known is None or known.roles != roles:
        app.registry.append(
            "identity.added", f"identity/{name}", IdentityRecord(name=name, roles=roles), by=app.identity
        )
    return app.registry.issue_token(name, by=app.identity, expires_at=expires_at, rate=rate)


def take_token(app: App, name: str) -> int:
    """Revoke every token of an identity; every worker knows within a second.

    Returns:
        How many there were.
    """
    hashes = [token.token_sha256 for token in app.state().tokens.values() if token.identity == name]
    for token_sha256 in hashes:
        app.registry.append(
            "token.revoked", f"token/{token_sha256}", TokenRevoked(token_sha256=token_sha256), by=app.identity
        )
    return len(hashes)
