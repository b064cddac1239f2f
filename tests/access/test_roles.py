"""Roles and permissions: one table each, nothing beside them."""

from __future__ import annotations

import pytest

from penstock.access import permissions
from penstock.access.permissions import ADMIN, APPROVE, BYPASS, PACKAGE, PERMISSIONS, READ, RELEASE
from penstock.access.roles import ROLES, permissions_of
from penstock.errors import NotFound


def test_every_constant_is_in_the_table_and_the_table_has_no_more() -> None:
    constants = {value for name, value in vars(permissions).items() if name.isupper() and isinstance(value, str)}
    assert constants == set(PERMISSIONS)


def test_every_role_is_made_of_known_permissions() -> None:
    assert {"viewer", "operator", "approver", "admin"} <= set(ROLES)
    assert all(allowed <= set(PERMISSIONS) for allowed in ROLES.values())


def test_who_packages_and_releases_does_not_approve() -> None:
    assert {PACKAGE, RELEASE} <= ROLES["operator"]
    assert APPROVE not in ROLES["operator"] | ROLES["system"] | ROLES["viewer"]
    assert PACKAGE not in ROLES["approver"]
    assert RELEASE not in ROLES["approver"]


def test_only_an_administrator_administers() -> None:
    assert [role for role, allowed in ROLES.items() if ADMIN in allowed] == ["admin"]
    assert {role for role, allowed in ROLES.items() if BYPASS in allowed} == {"admin", "approver"}


def test_roles_add_up_and_none_is_nothing() -> None:
    assert permissions_of(("viewer", "approver")) == ROLES["viewer"] | ROLES["approver"]
    assert permissions_of(()) == frozenset()
    assert permissions_of(("viewer",)) == {READ}
    with pytest.raises(NotFound):
        permissions_of(("viewer", "root"))
