"""Errors tell what to do and leak nothing: no input value, no path, no stack, no inner name."""

from __future__ import annotations

import logging

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from console_for_tests import Home
from penstock import errors
from penstock.web.permissions import PUBLIC, WebRoute, install
from penstock.web.refusals import refusal_of, status_of, unauthenticated

CANARY = "canary-7f3a9b"
STATUS = {
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Untrusted: 422,
    errors.Forbidden: 403,
    errors.BadConfig: 400,
    errors.NotReady: 503,
    errors.Overloaded: 429,
    errors.DeadlineExceeded: 504,
    errors.ModelFailed: 500,
    errors.TargetFailed: 500,
    errors.Corrupt: 500,
}


@pytest.mark.parametrize(("kind", "status"), STATUS.items())
def test_each_class_has_its_status(kind: type[errors.PenstockError], status: int) -> None:
    assert status_of(kind("why")) == status


def test_nobody_is_not_the_same_as_not_you() -> None:
    assert status_of(unauthenticated()) == 401


@pytest.mark.parametrize("fault", [errors.Corrupt, errors.ModelFailed, errors.TargetFailed, RuntimeError, KeyError])
def test_a_fault_keeps_its_text(home: Home, caplog: pytest.LogCaptureFixture, fault: type[Exception]) -> None:
    def fail() -> None:
        raise fault(f"/secret/{CANARY}/file")

    web = home.web()
    install(web, [WebRoute("GET", "/fail", fail, PUBLIC)])
    client = TestClient(web, base_url="http://localhost", raise_server_exceptions=False)
    with caplog.at_level(logging.ERROR):
        answer = client.get("/fail")
    assert answer.status_code == 500
    assert CANARY not in answer.text
    assert "Traceback" not in answer.text
    request_id = answer.json()["request_id"]
    assert request_id == answer.headers["x-request-id"]
    assert CANARY in caplog.text
    assert request_id in caplog.text


def test_come_back_later_says_when() -> None:
    assert refusal_of(errors.Overloaded("full"), "r")[0] == 429


def test_an_address_that_is_not_there() -> None:
    status, refusal = refusal_of(HTTPException(404, detail=CANARY), "r")
    assert (status, refusal.error) == (404, "request.no_route")
    assert CANARY not in refusal.message


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.just(CANARY)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.just(CANARY) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
BODIES = (
    "/api/v1/endpoints/flights/outcomes",
    "/api/v1/endpoints/flights/releases",
    "/api/v1/endpoints/flights/rollback",
    "/api/v1/models/flights/versions/4/approvals",
)


@pytest.fixture(scope="module")
def client(home: Home) -> TestClient:
    headers = {"authorization": f"Bearer {home.tokens['root']}"}
    return TestClient(home.web(), base_url="http://localhost", headers=headers, follow_redirects=False)


@given(body=JSON, path=st.sampled_from(BODIES))
def test_no_body_is_repeated(client: TestClient, body: object, path: str) -> None:
    wrapped = {"version": {CANARY: body}, "to": CANARY, "role": [body], CANARY: body}
    for sent in (body if not isinstance(body, dict) else wrapped, wrapped, [wrapped]):
        answer = client.post(path, json=sent)
        assert 400 <= answer.status_code < 500
        assert CANARY not in answer.text
        assert set(answer.json()) == {"error", "message", "hint", "where", "request_id"}


@pytest.mark.parametrize(
    ("path", "where"),
    [("/api/v1/events?since=canary-7f3a9b", "since"), ("/api/v1/models/flights/versions/canary-7f3a9b", "version")],
)
def test_no_parameter_is_repeated(client: TestClient, path: str, where: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["where"]) == (422, where)
    assert CANARY not in answer.text


def test_the_field_at_fault_is_named(client: TestClient) -> None:
    outcomes = [{"prediction": "a.0", "value": 1, "at": 1.0}, {"prediction": "a.1", "value": 1, "at": "soon"}]
    refused = client.post("/api/v1/endpoints/flights/outcomes", json=outcomes).json()
    assert (refused["error"], refused["where"]) == ("input.invalid", "[1].at")


def test_an_unknown_field_is_refused_and_not_repeated(client: TestClient) -> None:
    good = {"prediction": "a.0", "value": 1, "at": 1.0}
    for path, body in ((BODIES[2], {CANARY: 1}), (BODIES[0], [good, good | {CANARY: 1}])):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]) == (422, "input.invalid")
        assert CANARY not in answer.text
    assert answer.json()["where"] == "[1]"


def test_not_json_is_400_and_not_told_back(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post(BODIES[0], content=f'{{"{CANARY}', headers=headers)
    assert answer.json()["error"] == "request.malformed"
    assert CANARY not in answer.text


def test_forms_and_pages_repeat_nothing(client: TestClient) -> None:
    headers = {"origin": "http://localhost"}
    answer = client.post("/releases", data={"version": CANARY, "endpoint": "e", "share": CANARY}, headers=headers)
    assert answer.status_code == 422
    assert CANARY not in answer.text
    assert client.get(f"/models/{CANARY}").status_code == 404
    assert CANARY not in client.get(f"/models/{CANARY}").text.replace(f'value="/models/{CANARY}"', "")
