"""Tokens as the state knows them: who comes with one, and what the data plane is told of all of them."""

from __future__ import annotations

from penstock.access.identities import Identity
from penstock.access.tokens import expired, grant_of, same_hash, token_sha256
from penstock.errors import Forbidden, NotFound
from penstock.records import Grant, TokenRecord
from penstock.registry.state import State


def identity(state: State, name: str) -> Identity:
    """Somebody by name, with the roles they hold now.

    Raises:
        NotFound: There is no identity of that name.
    """
    known = state.identities.get(name)
    if known is None:
        raise NotFound("there is no identity of that name", "an administrator can add it")
    return Identity(name=known.name, roles=known.roles)


def recognise(state: State, token: str, now: float) -> Identity:
    """Who comes with this token, narrowed to what the token allows.

    Raises:
        Forbidden: The token is unknown, revoked or expired; which of them is not said.
    """
    wanted = token_sha256(token)
    known = state.tokens.get(wanted)
    if known is None or not same_hash(known.token_sha256, wanted) or expired(known.expires_at, now):
        raise Forbidden("the token is not valid", "ask an administrator for a new one", code="access.token")
    return _owner(state, known)


def grants(state: State, now: float) -> tuple[Grant, ...]:
    """Every valid token for the snapshot, sorted, so that equal states give equal ones."""
    valid = [token for token in state.tokens.values() if not expired(token.expires_at, now)]
    made = [grant_of(token, _owner(state, token)) for token in valid]
    return tuple(sorted(made, key=lambda grant: grant.token_sha256))


def _owner(state: State, token: TokenRecord) -> Identity:
    roles = state.identities[token.identity].roles
    return Identity(name=token.identity, roles=roles, narrowed=token.permissions, endpoints=token.endpoints)
