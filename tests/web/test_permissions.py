"""A route is registered with a permission that exists, or not at all; admission comes before everything else."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from console_for_tests import Home
from penstock.access.permissions import READ
from penstock.errors import BadConfig
from penstock.web.permissions import PUBLIC, GuardedRoute, WebRoute, hold, install


class Strict(BaseModel):
    number: int


def take(body: Strict) -> dict[str, int]:
    return {"number": body.number}


def test_a_permission_that_does_not_exist_is_refused(home: Home) -> None:
    with pytest.raises(BadConfig, match="no permission"):
        install(home.web(), [WebRoute("GET", "/x", take, "reed")])


def test_what_is_public_says_so(home: Home) -> None:
    web = home.web()
    install(web, [WebRoute("POST", "/x", take, PUBLIC)])
    hold(web)
    assert TestClient(web, base_url="http://localhost").post("/x", json={"number": 3}).json() == {"number": 3}


def test_a_guarded_route_without_a_declaration_is_found(home: Home) -> None:
    web = home.web()
    web.router.routes.append(GuardedRoute("/x", take, methods=["POST"]))
    with pytest.raises(BadConfig, match="declares no permission"):
        hold(web)


def test_who_is_not_admitted_learns_nothing_of_their_body(home: Home) -> None:
    web = home.web()
    install(web, [WebRoute("POST", "/x", take, READ)])
    answer = TestClient(web, base_url="http://localhost").post("/x", content=b"{not json")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
