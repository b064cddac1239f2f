"""The permission matrix, made from the live router: every route x every identity, as declared and not otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from console_for_tests import PEOPLE, Home
from penstock.access.roles import ROLES
from penstock.errors import BadConfig
from penstock.web.permissions import PUBLIC, GuardedRoute

NOBODY = {"nobody": "", "wrong": "pst_" + "A" * 43, "revoked": "gone", "expired": "late"}
IDENTITIES = [*NOBODY, *PEOPLE]
UNKNOWN, KNOWN_BUT_NOT = "refused: who?", "refused: not you"


@pytest.fixture(scope="module")
def web(home: Home) -> FastAPI:
    return home.web()


@pytest.fixture(scope="module")
def client(web: FastAPI) -> Iterator[TestClient]:
    with TestClient(web, base_url="http://localhost:8470", follow_redirects=False) as client:
        yield client


def declared(web: FastAPI) -> list[tuple[str, str, str]]:
    """(method, path, permission) of every live route; the test reads the router, not our tables."""
    found = []
    for route in web.router.routes:
        assert isinstance(route, GuardedRoute)
        assert route.declared is not None
        found += [(method, route.path, route.declared.permission) for method in sorted(route.methods)]
    return found


def call(client: TestClient, method: str, path: str, headers: dict[str, str]) -> str:
    """Ask with a body that fits nothing, so that who is admitted still changes nothing."""
    place = path.replace("{version}", "1").replace("{revision}", "1")
    for name in ("model", "endpoint", "alias", "prediction", "name"):
        place = place.replace(f"{{{name}}}", "nope")
    answer = client.request(method, place, headers=headers | {"origin": "http://localhost:8470"})
    return verdict(answer)


def verdict(answer: Response) -> str:
    if answer.status_code == 401 or answer.headers.get("location", "").startswith("/login?next="):
        return UNKNOWN
    if answer.status_code == 403 and "access.forbidden" in answer.text:
        return KNOWN_BUT_NOT
    assert answer.status_code < 500, answer.text
    return "admitted"


def expected(permission: str, who: str) -> str:
    if permission == PUBLIC:
        return "admitted"
    if who in NOBODY:
        return UNKNOWN
    return "admitted" if permission in ROLES[PEOPLE[who]] else KNOWN_BUT_NOT


def token_of(home: Home, who: str) -> str:
    return home.tokens[NOBODY.get(who, who)] if NOBODY.get(who, who) in home.tokens else NOBODY[who]


@pytest.mark.parametrize("who", IDENTITIES)
def test_every_route_answers_each_bearer_as_declared(home: Home, web: FastAPI, client: TestClient, who: str) -> None:
    token = token_of(home, who)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    client.cookies.clear()
    seen = {(method, path): call(client, method, path, headers) for method, path, _ in declared(web)}
    assert seen == {(method, path): expected(permission, who) for method, path, permission in declared(web)}


@pytest.mark.parametrize("who", PEOPLE)
def test_every_route_answers_each_session_as_declared(home: Home, web: FastAPI, client: TestClient, who: str) -> None:
    routes = [route for route in declared(web) if route[1] != "/logout"]
    client.cookies.clear()
    origin = {"origin": "http://localhost:8470"}
    assert client.post("/login", data={"token": home.tokens[who]}, headers=origin).status_code == 303
    seen = {(method, path): call(client, method, path, {}) for method, path, _ in routes}
    assert seen == {(method, path): expected(permission, who) for method, path, permission in routes}
    client.cookies.clear()


def test_the_matrix_is_not_empty(web: FastAPI) -> None:
    routes = declared(web)
    assert len(routes) > 35
    assert {path for _, path, permission in routes if permission == PUBLIC} == {
        "/api/v1/health", "/login", "/logout", "/settings", "/static/{name}",
    }  # fmt: skip


def test_a_token_for_one_endpoint_opens_no_other(home: Home, client: TestClient) -> None:
    headers = {"authorization": f"Bearer {home.tokens['narrow']}"}
    assert client.get("/api/v1/endpoints/flights", headers=headers).status_code == 403
    assert client.get("/api/v1/endpoints/taxi", headers=headers).status_code == 404
    refused = client.post("/api/v1/endpoints/flights/rollback", headers=headers, json={})
    assert refused.json()["error"] == "access.forbidden"


def test_a_wrong_token_is_not_mended_by_a_good_cookie(home: Home, client: TestClient) -> None:
    client.cookies.clear()
    client.post("/login", data={"token": home.tokens["root"]}, headers={"origin": "http://localhost:8470"})
    assert client.get("/api/v1/me").status_code == 200
    assert client.get("/api/v1/me", headers={"authorization": "Bearer nonsense"}).status_code == 401
    assert client.get("/api/v1/me", headers={"authorization": "Basic cm9vdDpyb290"}).status_code == 401
    client.cookies.clear()


def nothing() -> None:
    """A handler that somebody forgot to declare."""


async def socket(websocket: WebSocket) -> None:
    """A websocket that somebody forgot to declare."""


def add_plain(web: FastAPI) -> None:
    web.add_api_route("/forgotten", nothing)


def add_included(web: FastAPI) -> None:
    router = APIRouter()
    router.add_api_route("/forgotten", nothing)
    web.include_router(router)


def add_mount(web: FastAPI) -> None:
    web.router.routes.append(Mount("/files", StaticFiles(directory=".")))


def add_socket(web: FastAPI) -> None:
    web.add_api_websocket_route("/live", socket)


def add_docs(web: FastAPI) -> None:
    web.openapi_url, web.docs_url = "/openapi.json", "/docs"
    web.setup()


@pytest.mark.parametrize("forget", [add_plain, add_included, add_mount, add_socket, add_docs])
def test_an_undeclared_route_stops_the_start(home: Home, forget: object) -> None:
    web = home.web()
    forget(web)
    with pytest.raises(BadConfig, match="declares no permission"), TestClient(web):
        pass
