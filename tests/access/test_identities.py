"""Who may: the roles, narrowed by the token, on the endpoints it is good for."""

from __future__ import annotations

import pytest

from penstock.access.identities import Identity, may, require
from penstock.access.permissions import ADMIN, PERMISSIONS, PREDICT, READ, RELEASE
from penstock.errors import Forbidden


def test_a_token_narrows_and_never_widens() -> None:
    narrowed = Identity(name="ann", roles=("operator",), narrowed=(PREDICT, ADMIN))
    assert narrowed.permissions() == {PREDICT}
    assert may(narrowed, PREDICT)
    assert not may(narrowed, READ)
    assert not may(narrowed, ADMIN)


def test_endpoints_are_a_wall() -> None:
    here = Identity(name="ann", roles=("operator",), endpoints=("flights",))
    assert may(here, PREDICT, endpoint="flights")
    assert not may(here, PREDICT, endpoint="churn")
    with pytest.raises(Forbidden, match="on this endpoint"):
        require(here, PREDICT, endpoint="churn")


@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_a_refusal_says_what_is_missing(permission: str) -> None:
    with pytest.raises(Forbidden) as caught:
        require(Identity(name="nobody", roles=()), permission)
    assert permission in caught.value.hint
    require(Identity(name="root", roles=("admin",)), permission)


def test_release_is_not_for_viewers() -> None:
    assert not may(Identity(name="ann", roles=("viewer",)), RELEASE)
