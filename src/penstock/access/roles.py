"""The roles: a name people use for a set of permissions."""

from __future__ import annotations

from types import MappingProxyType

from penstock.access.permissions import (
    APPROVE,
    BYPASS,
    CHECK,
    INCIDENT,
    LOAD,
    OUTCOME,
    PACKAGE,
    PERMISSIONS,
    PREDICT,
    READ,
    RELEASE,
    ROLLBACK,
    SHARE,
)
from penstock.errors import NotFound

SYSTEM_ROLE = "system"
ADMIN_ROLE = "admin"

ROLES = MappingProxyType(
    {
        "viewer": frozenset({READ}),
        "operator": frozenset({READ, PREDICT, OUTCOME, PACKAGE, CHECK, RELEASE, ROLLBACK, LOAD, SHARE, INCIDENT}),
        "approver": frozenset({READ, PREDICT, CHECK, APPROVE, ROLLBACK, INCIDENT, BYPASS}),
        ADMIN_ROLE: frozenset(PERMISSIONS),
        # Penstock's own turns: the reconcile loop, the monitors, a retraining that was proposed. Never an approval.
        SYSTEM_ROLE: frozenset({READ, PREDICT, OUTCOME, PACKAGE, CHECK, RELEASE, ROLLBACK, INCIDENT}),
    }
)
"""Role -> permissions."""


def permissions_of(roles: tuple[str, ...]) -> frozenset[str]:
    """All that any of the roles allows.

    Raises:
        NotFound: One of them is no role.
    """
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        raise NotFound("there is no such role", f"the roles are {', '.join(ROLES)}", code="access.role")
    return frozenset().union(*(ROLES[role] for role in roles))
