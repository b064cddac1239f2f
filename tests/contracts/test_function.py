"""Every function answers a request and a refusal in its platform's form, and opens what the environment names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from packages_for_tests import linear_package
from penstock.adapters import TABLE, load
from penstock.errors import BadConfig, Untrusted
from penstock.serve.function import FunctionSettings, ServingFunction, open_handler
from penstock.serve.handler import Handler

ROWS = [[1.0, 2.0, 3.0, 4.0]]


class Form(NamedTuple):
    """How a platform asks and is answered."""

    event: Callable[[bytes], object]
    answer: Callable[[object], tuple[int, object]]


def flask(body: bytes) -> object:
    headers = SimpleNamespace(items=lambda: [("content-type", "application/json")])
    path = "/score"
    return SimpleNamespace(method="POST", path=path, query_string=b"", headers=headers, get_data=lambda: body)


def proxied(body: bytes) -> object:
    return {"httpMethod": "POST", "path": "/score", "headers": {}, "body": body.decode(), "requestContext": {}}


FORMS = {
    "aws-lambda": Form(proxied, lambda found: (found["statusCode"], json.loads(found["body"]))),
    "google-cloud": Form(flask, lambda found: (found[1], json.loads(found[0]))),
    "azure-ml": Form(flask, lambda found: (found.status, json.loads(found.body))),
}


@pytest.fixture(scope="module")
def handler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handler]:
    folder = tmp_path_factory.mktemp("function") / "linear"
    linear_package(folder)
    opened = Handler(folder)
    yield opened
    opened.close()


@pytest.fixture(params=sorted(TABLE["function"]))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def function(name: str, handler: Handler) -> ServingFunction:
    return load("function", name)(handler, FunctionSettings())


def test_answers_in_its_platforms_form(name: str, function: ServingFunction) -> None:
    form = FORMS[name]
    status, found = form.answer(function(form.event(json.dumps({"data": ROWS}).encode())))
    assert (status, found[0]["label"]) == (200, 1)


def test_refuses_with_the_place_and_without_the_value(name: str, function: ServingFunction) -> None:
    form = FORMS[name]
    status, found = form.answer(function(form.event(b'{"data":[[1,2,"secret",4]]}')))
    assert (status, "data[0][2]" in found["message"], "secret" in str(found)) == (400, True, False)


def test_nothing_is_opened_until_a_platform_looks_for_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PACKAGE", "/nowhere")
    module = __import__(load("function", name).__module__, fromlist=["open_function"])
    with pytest.raises(BadConfig):
        module.open_function(Path("/nowhere"))
    with pytest.raises(AttributeError):
        module.nothing_of_that_name  # noqa: B018


def test_the_environment_names_package_key_and_token(tmp_path: Path) -> None:
    linear_package(tmp_path / "elsewhere")
    environment = {"PENSTOCK_PACKAGE": str(tmp_path / "elsewhere"), "PENSTOCK_NAME": "e"}
    opened = open_handler(tmp_path, version=4, environment=environment)
    reply = opened.ask("POST", "/v1/models/e:predict", (), json.dumps({"instances": ROWS}).encode())
    assert (reply.status, b"x-model-version: 4" in reply.headers) == (200, True)
    opened.close()
    (tmp_path / "token").write_text("pst_secret\n")
    opened = open_handler(tmp_path, environment=environment | {"PENSTOCK_TOKEN_FILE": str(tmp_path / "token")})
    assert opened.ask("POST", "/score", (), json.dumps(ROWS).encode()).status == 401
    opened.close()
    with pytest.raises(BadConfig):
        open_handler(tmp_path, environment=environment | {"PENSTOCK_KEYS": str(tmp_path / "no.pub")})
    with pytest.raises(Untrusted):
        open_handler(tmp_path, digest="sha256:" + "1" * 64, environment=environment)


def test_a_key_beside_the_package_must_have_signed_it(tmp_path: Path) -> None:
    from penstock.packages.keys import load_or_create_package_key

    linear_package(tmp_path / "package")
    open_handler(tmp_path, environment={}).close()
    load_or_create_package_key(tmp_path)
    assert (tmp_path / "package.pub").is_file()
    with pytest.raises(Untrusted):
        open_handler(tmp_path, environment={})
