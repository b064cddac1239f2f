"""The first events of a home: an administrator, Penstock itself, the packages' key, the administrator's token.

Every step looks first whether it is done, so a kill at any point is mended by opening the home again.
"""

from __future__ import annotations

from typing import Protocol

from penstock.access.files import locked, write_whole
from penstock.access.identities import LOCAL_ADMIN, SYSTEM_NAME, Identity
from penstock.access.keys import LOCK_FILE
from penstock.access.roles import ADMIN_ROLE, SYSTEM_ROLE
from penstock.access.tokens import new_token, token_sha256
from penstock.packages.keyring import REVOKED, TRUSTED
from penstock.packages.keys import load_or_create_package_key, make_next_key, take_next_key
from penstock.packages.publickey import PUBLIC
from penstock.records import Event, IdentityRecord, KeyRecord, Record, TokenRecord, encode
from penstock.registry.events import subject_of
from penstock.registry.home import Home
from penstock.registry.state import State

PACKAGES = "packages"
"""Under this name the chain keeps the public keys that may sign packages."""


class Chain(Protocol):
    """What the first steps need of a registry."""

    def state(self) -> State:
        """What is true now."""
        ...

    def append(self, kind: str, subject: str, record: Record, *, by: Identity, expect: int | None = None) -> Event:
        """Write one event."""
        ...


def bootstrap(home: Home, chain: Chain) -> None:
    """Do what is left to do; only under the home's lock.

    Raises:
        OSError: The token's file cannot be written.
    """
    admin = Identity(name=LOCAL_ADMIN, roles=(ADMIN_ROLE,))
    if not chain.state().identities:
        _append(chain, "identity.added", IdentityRecord(name=LOCAL_ADMIN, roles=admin.roles), by=admin)
    if SYSTEM_NAME not in chain.state().identities:
        _append(chain, "identity.added", IdentityRecord(name=SYSTEM_NAME, roles=(SYSTEM_ROLE,)), by=admin)
    _trust_package_key(home, chain, admin)
    digest = token_sha256(_local_token(home))
    if chain.state().generation(f"token/{digest}") == 0:
        _append(chain, "token.issued", TokenRecord(token_sha256=digest, identity=LOCAL_ADMIN), by=admin)


def _append(chain: Chain, kind: str, record: Record, *, by: Identity) -> None:
    chain.append(kind, subject_of(kind, record), record, by=by)


def _trust_package_key(home: Home, chain: Chain, admin: Identity) -> None:
    """Name the key that signs packages in the chain, so that the chain's own public key proves all."""
    take_next_key(home.keys, _hints(chain.state()))
    key, state = load_or_create_package_key(home.keys).public_key(), chain.state()
    given_up = key.hint in state.revoked or (key.hint in _hints(state) and key.hint != state.signer(PACKAGES))
    if given_up:
        # The keys folder was put back as it was before; what it signed may be good, what it would sign is not.
        rotate(home, chain, by=admin, reason="the key in the keys folder was given up before")
    elif key.hint not in _hints(state):
        with locked(home.keys / LOCK_FILE):
            # It is synced before the chain names it, and made whole where its writer was killed halfway.
            write_whole(home.keys / PUBLIC, key.pem, mode=0o644)
        _append(chain, "key.added", KeyRecord(name=PACKAGES, pem=key.pem.decode("ascii"), own=True), by=admin)
    elif (home.keys / PUBLIC).read_bytes() != key.pem:
        with locked(home.keys / LOCK_FILE):
            write_whole(home.keys / PUBLIC, key.pem, mode=0o644)
    write_trusted(home, chain)


def rotate(home: Home, chain: Chain, *, by: Identity, reason: str) -> KeyRecord:
    """Have a new key sign this home's packages from now on; only under the home's lock.

    Killed at any point, opening the home again ends it, one way or the other.
    """
    pem = make_next_key(home.keys).public_key().pem.decode("ascii")
    record = KeyRecord(name=PACKAGES, pem=pem, own=True, reason=reason)
    _append(chain, "key.added", record, by=by)
    take_next_key(home.keys, _hints(chain.state()))
    return record


def _hints(state: State) -> frozenset[str]:
    return frozenset(record.hint for record in state.keys.get(PACKAGES, ()))


def write_trusted(home: Home, chain: Chain) -> None:
    """Write the keys that the chain trusts with packages, and those it revoked, to where the data plane reads them.

    Raises:
        OSError: It cannot be written; what was there still is.
    """
    with locked(home.keys / LOCK_FILE):
        # Read under the lock, or a slow writer would bring back a key that was revoked meanwhile.
        state = chain.state()
        pems = "".join(record.pem for record in state.keys.get(PACKAGES, ())).encode("ascii")
        revoked = encode([one for _, one in sorted(state.revoked.items()) if one.name == PACKAGES])
        for name, data in ((REVOKED, revoked), (TRUSTED, pems)):
            place = home.keys / name
            if not place.exists() or place.read_bytes() != data:
                write_whole(place, data, mode=0o644)


def _local_token(home: Home) -> str:
    """The token in the keys folder; the file is written before the event, so no event's token is ever lost."""
    with locked(home.keys / LOCK_FILE):
        if not home.token.exists():
            write_whole(home.token, new_token().encode())
        return home.token.read_text("ascii").strip()
