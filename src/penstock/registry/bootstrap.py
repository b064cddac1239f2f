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
from penstock.packages.keyring import TRUSTED
from penstock.packages.keys import load_or_create_package_key
from penstock.packages.publickey import PUBLIC
from penstock.records import Event, IdentityRecord, KeyRecord, Record, TokenRecord
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
    pem = load_or_create_package_key(home.keys).public_key().pem
    record = KeyRecord(name=PACKAGES, pem=pem.decode("ascii"))
    known = record in chain.state().keys.get(PACKAGES, ())
    place = home.keys / PUBLIC
    if not known or place.read_bytes() != pem:
        # It is synced before the chain names it, and made whole where its writer was killed halfway.
        with locked(home.keys / LOCK_FILE):
            write_whole(place, pem, mode=0o644)
    if not known:
        _append(chain, "key.added", record, by=admin)
    write_trusted(home, chain.state())


def write_trusted(home: Home, state: State) -> None:
    """Write the keys that the chain trusts with packages to where the data plane reads them.

    Raises:
        OSError: It cannot be written; what was there still is.
    """
    pems = "".join(record.pem for record in state.keys.get(PACKAGES, ())).encode("ascii")
    place = home.keys / TRUSTED
    with locked(home.keys / LOCK_FILE):
        if not place.exists() or place.read_bytes() != pems:
            write_whole(place, pems, mode=0o644)


def _local_token(home: Home) -> str:
    """The token in the keys folder; the file is written before the event, so no event's token is ever lost."""
    with locked(home.keys / LOCK_FILE):
        if not home.token.exists():
            write_whole(home.token, new_token().encode())
        return home.token.read_text("ascii").strip()
