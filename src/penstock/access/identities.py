"""Who acts: a name, its roles, and what a token narrowed them to."""

from __future__ import annotations

from penstock.access.permissions import PERMISSIONS
from penstock.access.roles import permissions_of
from penstock.errors import Forbidden
from penstock.records import Record

SYSTEM_NAME = "penstock"
"""Under this name Penstock itself acts."""
LOCAL_ADMIN = "admin"
"""The first identity of a home; its token lies in the home folder."""


class Identity(Record, frozen=True, kw_only=True):
    """Somebody who was recognised.

    Attributes:
        name: Unique; two tokens of one name are one person.
        roles: Names in `penstock.access.roles.ROLES`.
        narrowed: What the token they came with leaves of their roles' permissions; empty means all.
        endpoints: The endpoints they may touch; empty means all.
    """

    name: str
    roles: tuple[str, ...]
    narrowed: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()

    def permissions(self) -> frozenset[str]:
        """What they may do: what the roles allow and the token has not taken away."""
        allowed = permissions_of(self.roles)
        return allowed & frozenset(self.narrowed) if self.narrowed else allowed


def may(identity: Identity, permission: str, *, endpoint: str = "") -> bool:
    """Whether they may do this, on that endpoint where one is named."""
    on_it = not endpoint or not identity.endpoints or endpoint in identity.endpoints
    return on_it and permission in identity.permissions()


def require(identity: Identity, permission: str, *, endpoint: str = "") -> None:
    """Refuse who may not.

    Raises:
        Forbidden: They may not; the message names the permission, in words.
    """
    if not may(identity, permission, endpoint=endpoint):
        place = " on this endpoint" if endpoint and may(identity, permission) else ""
        raise Forbidden(
            f"you may not {PERMISSIONS[permission]}{place}",
            f"ask an administrator for a role or a token with the permission '{permission}'",
        )
