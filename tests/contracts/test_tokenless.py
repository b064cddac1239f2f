"""Whoever sends no token learns nothing and changes nothing where everything needs one, in any dialect.

Asked is what every dialect's cases ask, good or bad, and at least once whatever a path can ask for; what is answered
then is health, and documents that are the same on every server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from contracts.test_dialects import DIALECTS, asked
from dataplane_for_tests import DataPlane, route, v2
from packages_for_tests import flights_like, linear_package, words_package
from penstock.access.tokens import token_sha256
from penstock.adapters import TABLE, load
from penstock.records import Grant
from penstock.serve.protocol import Manner, ServingProtocol, Verb

TOKEN = "pst_known"
GRANT = Grant(token_sha256=token_sha256(TOKEN), subject="ann", permissions=("predict", "read", "load", "share"))
NAMES = {"linear": linear_package, "flights": flights_like, "words": words_package}
ROWS = v2([[1.0, 2.0, 3.0, 4.0]])
MULTI_MODEL = {
    "SAGEMAKER_MULTI_MODEL": "true",
    "AIP_HTTP_PORT": "8080",
    "AIP_HEALTH_ROUTE": "/alive",
    "AIP_PREDICT_ROUTE": "/ask",
    "AZUREML_MODEL_DIR": "/var/azureml-app",
}
MORE = [
    *(f"POST /v2/models/linear/{word}" for word in ("infer", "infer_stream", "generate", "generate_stream", "explain")),
    *(f"POST /v2/models/linear/versions/1/{word}" for word in ("infer", "infer_stream", "explain")),
    *(f"GET /v2/models/linear{word}" for word in ("", "/ready", "/config", "/stats", "/versions/1")),
    *(f"POST /v2/repository/{word}" for word in ("index", "models/linear/load", "models/linear/unload")),
    *(f"{method} /v2/systemsharedmemory{word}" for method, word in (
        ("GET", "/status"), ("GET", "/region/r/status"), ("POST", "/region/r/register"), ("POST", "/unregister"))),
    *(f"GET /v2{word}" for word in ("", "/models", "/models/stats", "/health/live", "/health/ready")),
    *(f"POST /v1/models/linear{word}" for word in (":predict", ":explain", ":classify", ":regress")),
    *(f"POST /v1/models/linear{word}:predict" for word in ("/versions/1", "/labels/stable")),
    *(f"GET /v1/models{word}" for word in ("", "/linear", "/linear/metadata", "/linear/versions/1")),
    *(f"POST {word}" for word in ("/predictions/linear", "/explanations/linear", "/models/linear/invoke",
                                  "/models?url=linear", "/models")),
    *(f"GET {word}" for word in ("/models", "/models/linear", "/models/linear/all", "/api-description", "/ping",
                                 "/token?type=inference", "/token?type=management")),
    "PUT /models/linear?min_worker=0", "PUT /models/linear/1/set-default", "DELETE /models/linear", "OPTIONS /",
    "POST /invocations", "POST /score", "GET /score?data=[[1,2,3,4]]", "OPTIONS /score", "GET /swagger.json", "GET /",
    "GET /version", "GET /health", "GET /execution-parameters", "POST /v1/embeddings", "POST /openai/v1/embeddings",
    "GET /openai/v1/models", "GET /openai/v1/models/linear", "POST /v1/chat/completions",
    "GET /metrics", "GET /monitoring/prometheus/metrics", "GET /jobs/0", f"GET /jobs/{'0' * 32}/result",
    "POST /ask", "GET /alive", "POST /v1/endpoints/linear:predict", "POST /v1/endpoints/linear:rawPredict",
]  # fmt: skip
HEALTH = {
    "GET /v1/endpoints/1/deployedModels/2:predict",  # where Vertex AI names no other
    *(f"GET {path}" for path in ("/v2/health/live", "/v2/health/ready", "/ping", "/health", "/", "/alive")),
    *(f"HEAD {path}" for path in ("/v2/health/live", "/v2/health/ready", "/ping", "/health", "/", "/alive")),
}
SAME_EVERYWHERE = {
    "GET /v2", "GET /version", "GET /execution-parameters", "GET /api-description", "OPTIONS /", "OPTIONS /score",
    "GET /v2/models", "GET /v1/models", "GET /models", "GET /openai/v1/models", "POST /v2/repository/index",
    "GET /v2/models/stats", "GET /monitoring/prometheus/metrics",
}  # fmt: skip
"""Of lists, those of whoever sees nothing."""


class Guarded(NamedTuple):
    plane: DataPlane
    protocols: tuple[ServingProtocol, ...]


@pytest.fixture(scope="module", params=[{}, MULTI_MODEL], ids=["anywhere", "on platforms"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home: Path = tmp_path_factory.mktemp("guarded")
    plane = DataPlane(home)
    plane.write(
        *(route(name, plane.add(builder, home / name), public=False) for name, builder in NAMES.items()),
        grants=(GRANT,),
    )
    before = dict(os.environ)
    os.environ.update(request.param)
    try:
        plane.start("--spares", "0", "--allow", "load,share", workers=1)
    finally:
        os.environ.clear()
        os.environ.update(before)
    manner = Manner(environment=request.param)
    try:
        plane.settled(workers=1)
        yield Guarded(plane, tuple(load("protocol", name)(manner) for name in TABLE["protocol"]))
    finally:
        plane.stop()


def cases() -> list[dict]:
    """Each dialect's own, and every operation there is."""
    own = [case for dialect in DIALECTS.values() for kind in ("good", "bad") for case in dialect[kind]]
    return [*own, *({"ask": line, "text": ROWS if line.startswith("P") else ""} for line in MORE)]


def test_no_operation_answers_whoever_sends_no_token(guarded: Guarded) -> None:
    spoken: list[str] = []
    for case in cases():
        answer = asked(guarded.plane, case)
        line = case["ask"].partition("?")[0]
        text = answer.body.decode("utf-8", "replace")
        if answer.status < 400 and line not in HEALTH:
            spoken += [] if line in SAME_EVERYWHERE and not any(name in text for name in NAMES) else [f"{line}: {text}"]
        if answer.status >= 500 and answer.status not in (501, 503):
            spoken.append(f"{line}: {answer.status} {text}")
    assert not spoken
    token = {"Authorization": f"Bearer {TOKEN}"}
    for name in NAMES:
        assert guarded.plane.ask("GET", f"/v2/models/{name}/ready", headers=token).status == 200, "it was changed"
    assert guarded.plane.ask("POST", "/v2/models/linear/infer", ROWS, token).status == 200


@pytest.mark.parametrize("line", ["POST /v1/embeddings", "POST /openai/v1/embeddings"])
def test_no_body_is_read_to_find_out_what_somebody_unknown_wants(guarded: Guarded, line: str) -> None:
    assert asked(guarded.plane, {"ask": line, "text": "{"}).status == 401
    token = {"Authorization": f"Bearer {TOKEN}"}
    assert asked(guarded.plane, {"ask": line, "text": "{", "headers": token}).status == 400


def test_every_operation_was_asked_for(guarded: Guarded) -> None:
    lines = [case["ask"].partition("?")[0].partition(" ") for case in cases()]
    operations = [one.match(method, path) for one in guarded.protocols for method, _, path in lines]
    assert {operation.verb for operation in operations if operation} == set(get_args(Verb))
